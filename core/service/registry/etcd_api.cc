// service/registry/etcd_api.cc - values to messages and back.
#include "service/registry/etcd_api.h"

#include <utility>

#include "etcd/rpc.pb-c.h"
#include "service/balancer/balancer.h"
#include "service/registry/registries.h"

namespace nebula {

namespace {

const Method range_method{"/etcdserverpb.KV/Range"}, put_method{"/etcdserverpb.KV/Put"},
    delete_method{"/etcdserverpb.KV/DeleteRange"}, compact_method{"/etcdserverpb.KV/Compact"}, grant_method{"/etcdserverpb.Lease/LeaseGrant"};
const Method watch_method{"/etcdserverpb.Watch/Watch", false, nullptr, Shape::bidi};
const Method keep_alive_method{"/etcdserverpb.Lease/LeaseKeepAlive", false, nullptr, Shape::bidi};

ProtobufCBinaryData data_of(std::string_view text) {
  return {text.size(), reinterpret_cast<uint8_t*>(const_cast<char*>(text.data()))};  // pack only reads
}

std::string text_of(const ProtobufCBinaryData& data) {
  return {reinterpret_cast<const char*>(data.data), data.len};
}

template <class Message>
Bytes pack(const Message& message) {
  Block* block = Block::make(protobuf_c_message_get_packed_size(&message.base));
  NEBULA_ASSERT(block != nullptr);
  block->set_size(protobuf_c_message_pack(&message.base, reinterpret_cast<uint8_t*>(block->data())));
  return Bytes::adopt(block);
}

struct Free {
  void operator()(ProtobufCMessage* message) const { protobuf_c_message_free_unpacked(message, nullptr); }
};

// Null: it is no such message.
template <class Message>
std::unique_ptr<ProtobufCMessage, Free> unpack(const ProtobufCMessageDescriptor& type, const Bytes& bytes, Message** out) {
  std::unique_ptr<ProtobufCMessage, Free> message(protobuf_c_message_unpack(
      &type, nullptr, bytes.size(), reinterpret_cast<const uint8_t*>(bytes.data())));
  *out = reinterpret_cast<Message*>(message.get());
  return message;
}

Status strange() { return internal("etcd has sent what is no message of its API"); }

}  // namespace

Result<std::unique_ptr<EtcdApi>> EtcdApi::open(const Env& env, const EtcdPlace& place) {
  Url list;
  list.scheme = "static";
  for (const std::string& address : place.addresses) list.path.append(list.path.empty() ? "" : ",").append(address);
  TRY(std::unique_ptr<Registry> registry, static_registry_driver().open(list, env));
  TRY(std::unique_ptr<Balancer> balancer, round_robin_driver().open(*Url::parse("round_robin:"), env));
  ChannelLimits limits;
  limits.message_bytes_max = limits::etcd_message_bytes_max;
  limits.backoff_max = limits::etcd_backoff_max;
  limits.session.keepalive = {limits::etcd_silence_max, limits::etcd_timeout};
  ChannelName name{"etcd", Url::parse(place.addresses.front())->authority(), place.tls};
  std::unique_ptr<Channel> channel = std::make_unique<Channel>(env, *registry, std::move(name), std::move(balancer), limits);
  return std::unique_ptr<EtcdApi>(new EtcdApi(env, std::move(registry), std::move(channel)));
}

EtcdApi::EtcdApi(const Env& env, std::unique_ptr<Registry> list, std::unique_ptr<Channel> channel)
    : loop_(env.loop), list_(std::move(list)), channel_(std::move(channel)) {}

void EtcdApi::tell(const Method& method, Bytes message, Done<bool> done) {
  ask(*channel_, loop_, method, std::move(message), limits::etcd_timeout, [done = std::move(done)](Result<Bytes>&& bytes) mutable {
    done(bytes.ok() ? Result<bool>(true) : Result<bool>(bytes.status()));
  });
}

void EtcdApi::range(std::string_view from, std::string_view to, int64_t revision, Done<Page> done) {
  Etcdserverpb__RangeRequest request = ETCDSERVERPB__RANGE_REQUEST__INIT;
  request.key = data_of(from);
  request.range_end = data_of(to);
  request.limit = limits::etcd_page;
  request.revision = revision;
  ask(*channel_, loop_, range_method, pack(request), limits::etcd_timeout, [done = std::move(done)](Result<Bytes>&& bytes) mutable {
    if (!bytes.ok()) return done(bytes.status());
    Etcdserverpb__RangeResponse* response;
    auto holder = unpack(etcdserverpb__range_response__descriptor, *bytes, &response);
    if (response == nullptr || response->header == nullptr) return done(strange());
    Page page;
    for (size_t i = 0; i < response->n_kvs; i++)
      page.pairs.push_back({text_of(response->kvs[i]->key), text_of(response->kvs[i]->value)});
    page.revision = response->header->revision;
    page.has_more = response->more;
    done(std::move(page));
  });
}

void EtcdApi::put(std::string_view key, std::string_view value, int64_t lease, Done<bool> done) {
  Etcdserverpb__PutRequest request = ETCDSERVERPB__PUT_REQUEST__INIT;
  request.key = data_of(key);
  request.value = data_of(value);
  request.lease = lease;
  tell(put_method, pack(request), std::move(done));
}

void EtcdApi::remove(std::string_view key, Done<bool> done) {
  Etcdserverpb__DeleteRangeRequest request = ETCDSERVERPB__DELETE_RANGE_REQUEST__INIT;
  request.key = data_of(key);
  tell(delete_method, pack(request), std::move(done));
}

void EtcdApi::compact(int64_t revision, Done<bool> done) {
  Etcdserverpb__CompactionRequest request = ETCDSERVERPB__COMPACTION_REQUEST__INIT;
  request.revision = revision;
  tell(compact_method, pack(request), std::move(done));
}

void EtcdApi::grant(Duration life, Done<int64_t> done) {
  Etcdserverpb__LeaseGrantRequest request = ETCDSERVERPB__LEASE_GRANT_REQUEST__INIT;
  request.ttl = life.ms() / 1000;
  ask(*channel_, loop_, grant_method, pack(request), limits::etcd_timeout, [done = std::move(done)](Result<Bytes>&& bytes) mutable {
    if (!bytes.ok()) return done(bytes.status());
    Etcdserverpb__LeaseGrantResponse* response;
    auto holder = unpack(etcdserverpb__lease_grant_response__descriptor, *bytes, &response);
    if (response == nullptr || response->id == 0) return done(strange());
    done(int64_t{response->id});
  });
}

std::unique_ptr<Conversation> EtcdApi::watch(std::string_view from, std::string_view to, int64_t revision,
                                             ConversationEvents& up) {
  Etcdserverpb__WatchCreateRequest create = ETCDSERVERPB__WATCH_CREATE_REQUEST__INIT;
  create.key = data_of(from);
  create.range_end = data_of(to);
  create.start_revision = revision;
  create.progress_notify = true;
  Etcdserverpb__WatchRequest request = ETCDSERVERPB__WATCH_REQUEST__INIT;
  request.create_request = &create;
  std::unique_ptr<Conversation> watch = std::make_unique<Conversation>(*channel_, loop_, watch_method, up);
  watch->send(pack(request));
  return watch;
}

std::unique_ptr<Conversation> EtcdApi::keep_alive(ConversationEvents& up) {
  return std::make_unique<Conversation>(*channel_, loop_, keep_alive_method, up);
}

Bytes EtcdApi::keep_alive_request(int64_t lease) {
  Etcdserverpb__LeaseKeepAliveRequest request = ETCDSERVERPB__LEASE_KEEP_ALIVE_REQUEST__INIT;
  request.id = lease;
  return pack(request);
}

Result<EtcdApi::Changes> EtcdApi::changes_of(const Bytes& message) {
  Etcdserverpb__WatchResponse* response;
  auto holder = unpack(etcdserverpb__watch_response__descriptor, message, &response);
  if (response == nullptr || response->header == nullptr) return strange();
  Changes changes;
  changes.revision = response->header->revision;
  for (size_t i = 0; i < response->n_events; i++) {
    const Etcdserverpb__Event& event = *response->events[i];
    if (event.kv == nullptr) return strange();
    bool is_gone = event.type == ETCDSERVERPB__EVENT__TYPE__DELETE;
    changes.changes.push_back(
        {text_of(event.kv->key), is_gone ? std::nullopt : std::optional<std::string>(text_of(event.kv->value))});
  }
  if (response->compact_revision > 0)
    changes.ended = unavailable("etcd has forgotten the changes since revision " + std::to_string(response->compact_revision));
  else if (response->canceled)
    changes.ended = unavailable(std::string("etcd has ended the watch: ") + response->cancel_reason);
  return changes;
}

Result<Duration> EtcdApi::life_of(const Bytes& message) {
  Etcdserverpb__LeaseKeepAliveResponse* response;
  auto holder = unpack(etcdserverpb__lease_keep_alive_response__descriptor, message, &response);
  if (response == nullptr) return strange();
  return sec(response->ttl);
}

}  // namespace nebula

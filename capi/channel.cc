// capi/channel.cc - nebula_channel: a target and the numbers of its methods. Connections belong to the queues.
#include <map>
#include <mutex>
#include <string>

#include "border.h"
#include "handle.h"
#include "queue.h"

using namespace nebula;

struct nebula_channel {
  std::shared_ptr<const ChannelTarget> target;
  std::mutex lock;
  std::map<std::pair<std::string, int32_t>, uint64_t> methods;  // by path and shape
};

extern "C" {

nebula_channel* nebula_channel_new(nebula_engine* engine, const char* target, const nebula_channel_options* options,
                                   nebula_error* error) {
  nebula_channel_options known;
  if (!read_options(options, &known)) return fail(error, NEBULA_E_VERSION, options_message), nullptr;
  if (engine == nullptr || target == nullptr)
    return fail(error, NEBULA_E_ARGUMENT, "channel: an engine and a target are needed"), nullptr;
  if (engine->is_forked()) return fail(error, NEBULA_E_FORKED, forked_message), nullptr;
  Result<Url> url = Url::parse(target);
  Status status = url.ok() ? Worker::check_target(*url, engine->engine->drivers()) : url.status();
  if (!status.ok()) return fail(error, NEBULA_E_ADDRESS, status.message()), nullptr;
  if (apply_tls(known.tls, TlsSide::client, &*url, error) < 0) return nullptr;
  if (!is_compression(known.compression) || known.reserved != 0)
    return fail(error, NEBULA_E_ARGUMENT, "channel: compression is NEBULA_GZIP, NEBULA_ZSTD or 0"), nullptr;
  std::string_view policy = known.policy != nullptr ? known.policy : "";
  if (Status usable = engine->engine->check_policy(policy); !usable.ok())
    return fail(error, NEBULA_E_ARGUMENT, usable.message()), nullptr;
  ChannelLimits limits;
  if (known.max_message != 0) limits.message_bytes_max = known.max_message;
  take_ms(known.keepalive_ms, &limits.session.keepalive.interval);
  take_ms(known.keepalive_timeout_ms, &limits.session.keepalive.timeout);
  limits.session.keepalive.without_streams = known.keepalive_always != 0;
  take_ms(known.max_idle_ms, &limits.idle_max);
  nebula_channel* channel = new nebula_channel;
  channel->target = std::make_shared<ChannelTarget>(
      ChannelTarget{engine, std::move(*url), limits, std::string(policy), encoding_of_flags(known.compression)});
  return channel;
}

uint64_t nebula_channel_method(nebula_channel* channel, const char* path, int32_t shape) {
  if (channel == nullptr || path == nullptr || !is_shape(shape) || service_of_path(path).empty()) return 0;
  if (path[0] != '/' || std::string_view(path).find('/', 1) == std::string_view::npos) return 0;
  std::lock_guard<std::mutex> hold(channel->lock);
  auto found = channel->methods.find({path, shape});
  if (found != channel->methods.end()) return found->second;
  std::shared_ptr<ClientMethod> method = std::make_shared<ClientMethod>();
  method->target = channel->target;
  method->method.path = path;
  method->method.shape = shape_of(shape);
  method->reading = Reading(shape);
  uint64_t id = add_method(std::move(method));
  if (id != 0) channel->methods.emplace(std::pair(path, shape), id);
  return id;
}

void nebula_channel_free(nebula_channel* channel) {
  if (channel == nullptr) return;
  for (const auto& [name, id] : channel->methods) remove_method(id);
  nebula_engine* engine = channel->target->engine;
  if (!engine->is_forked()) {
    std::lock_guard<std::mutex> hold(engine->lock);
    for (Calls* calls : engine->calls) calls->post_forget(channel->target);
  }
  delete channel;
}

}  // extern "C"

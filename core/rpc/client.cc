// rpc/client.cc - a call and its context, kept together until the answer.
#include "rpc/client.h"

#include <utility>

namespace nebula {

void ask(Service& service, Loop& loop, const Method& method, Bytes message, Duration timeout, Done<Bytes> done) {
  std::unique_ptr<Context> context = std::make_unique<Context>(loop.now() + timeout, nullptr);
  Request request{&method, context.get(), {}, std::move(message)};
  service.call(std::move(request),
               Reply([context = std::move(context), done = std::move(done)](Result<Response>&& result) mutable {
                 if (!result.ok()) return done(result.status());
                 if (!result->status.ok()) return done(std::move(result->status));
                 Bytes* answer = std::get_if<Bytes>(&result->body);
                 if (answer == nullptr) return done(internal("the answer has no message"));
                 done(std::move(*answer));
               }));
}

// What a call needs of us: it outlives the reply.
struct Conversation::Life {
  Life(Conversation& owner) : owner(&owner), context(Time::never(), nullptr) {}
  Conversation* owner;  // null: it has gone
  Context context;
};

class Conversation::Requests final : public Source {
 public:
  explicit Requests(Conversation& owner) : owner_(&owner) { owner.requests_ = this; }
  ~Requests() override {
    if (owner_ != nullptr) owner_->requests_ = nullptr;
  }

  void detach() { owner_ = nullptr; }
  void push(Bytes message) {
    messages_.push_back(std::move(message));
    ready();
  }
  Ending& ending() override { return ending_; }

 private:
  Next take(Bytes* message) override {
    if (messages_.empty()) return Next::later;
    *message = std::move(messages_.front());
    messages_.pop_front();
    return Next::message;
  }

  Conversation* owner_;
  std::deque<Bytes> messages_;
  Ending ending_;
};

Conversation::Conversation(Service& service, Loop& loop, const Method& method, ConversationEvents& up)
    : loop_(loop), up_(up) {
  start(service, method, std::make_unique<Requests>(*this));
}

Conversation::Conversation(Service& service, Loop& loop, const Method& method, Bytes message, ConversationEvents& up)
    : loop_(loop), up_(up) {
  start(service, method, std::move(message));
}

void Conversation::start(Service& service, const Method& method, Body body) {
  std::unique_ptr<Life> life = std::make_unique<Life>(*this);
  waiting_ = life.get();
  Request request{&method, &life->context, {}, std::move(body)};
  service.call(std::move(request), Reply([life = std::move(life)](Result<Response>&& result) mutable {
                 Conversation* owner = life->owner;
                 if (owner != nullptr) owner->on_response(std::move(life), std::move(result));
               }));
}

Conversation::~Conversation() {
  if (requests_ != nullptr) requests_->detach();
  responses_.reset();
  if (waiting_ == nullptr) return;
  waiting_->owner = nullptr;
  waiting_->context.cancel(cancelled("it is not wanted any more"));
}

void Conversation::send(Bytes message) {
  if (requests_ != nullptr) requests_->push(std::move(message));  // else the end is on its way
}

void Conversation::on_response(std::unique_ptr<Life> life, Result<Response>&& result) {
  waiting_ = nullptr;
  life_ = std::move(life);
  std::unique_ptr<Source>* source = result.ok() ? std::get_if<std::unique_ptr<Source>>(&result->body) : nullptr;
  if (source == nullptr) return end_later(result.ok() ? std::move(result->status) : result.status());
  responses_ = std::move(*source);
  responses_->on_ready([this] { read(); });
  loop_.later([self = anchor_.ref()] {
    if (Conversation* conversation = self.get(); conversation != nullptr) conversation->read();
  });
}

void Conversation::read() {
  Anchor<Conversation>::Ref self = anchor_.ref();
  while (self.get() != nullptr && responses_ != nullptr) {
    Bytes message;
    Source::Next next = responses_->next(&message);
    if (next == Source::Next::later) return;
    if (next == Source::Next::end) {
      Status why = std::move(responses_->ending().status);
      responses_.reset();
      return end_later(std::move(why));
    }
    up_.on_message(std::move(message));
  }
}

void Conversation::end_later(Status why) {
  loop_.later([self = anchor_.ref(), why = std::move(why)]() mutable {
    if (Conversation* conversation = self.get(); conversation != nullptr) conversation->up_.on_end(std::move(why));
  });
}

}  // namespace nebula

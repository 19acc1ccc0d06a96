// sim/stream.cc - messages, pauses, endings.
#include "sim/stream.h"

namespace nebula::sim {

// ---- Speaker

Speaker::Speaker(Ground& ground, Call& call, Way way, Ending ending)
    : ground_(ground), call_(call), way_(way), ending_(std::move(ending)) {}

Speaker::~Speaker() { ground_.ledger.on_speaker_gone(call_, way_, has_said_all_); }

Source::Next Speaker::take(Bytes* message) {
  if (is_pausing_) return Next::later;
  const Wish& wish = call_.wish;
  if (next_ == wish.count(way_)) {
    if (way_ == Way::request && wish.never_ends) return Next::later;
    has_said_all_ = true;
    ground_.ledger.on_all_said(call_, way_);
    return Next::end;
  }
  *message = stream_message(call_.id, wish, way_, next_);
  ground_.ledger.on_message_given(call_, way_, message->size());
  Duration pause = pause_before(call_.id, ++next_, wish.speaking_pause(way_));
  if (pause > Duration{}) {
    is_pausing_ = true;
    pause_ = ground_.loop.after(pause, [this] {
      is_pausing_ = false;
      ready();
    });
  }
  return Next::message;
}

// ---- Mirror

Mirror::Mirror(Ground& ground, Call& call, std::unique_ptr<Source> requests, Ending ending)
    : ground_(ground), call_(call), requests_(std::move(requests)), ending_(std::move(ending)) {
  requests_->on_ready([this] { ready(); });
}

Mirror::~Mirror() { ground_.ledger.on_speaker_gone(call_, Way::response, has_said_all_); }

Source::Next Mirror::take(Bytes* message) {
  Next next = requests_->next(message);
  if (next == Next::message) {
    ground_.ledger.on_message_taken(call_, Way::request, *message);
    ground_.ledger.on_message_given(call_, Way::response, message->size());
  } else if (next == Next::end) {
    ground_.ledger.on_requests_end(call_, requests_->ending().status);
    if (!requests_->ending().status.ok()) ending_ = requests_->ending();
    has_said_all_ = true;
    ground_.ledger.on_all_said(call_, Way::response);
  }
  return next;
}

// ---- Taker

Taker::Taker(Ground& ground, Call& call, Way way, std::unique_ptr<Source> source, uint64_t messages_max,
             Fn<void(Ending*)> ended)
    : ground_(ground),
      call_(call),
      way_(way),
      source_(std::move(source)),
      messages_max_(messages_max),
      ended_(std::move(ended)) {}

Taker::~Taker() {
  if (source_ != nullptr) ground_.ledger.on_taker_gone(call_, way_);
}

void Taker::start() {
  source_->on_ready([this] { read(); });
  read();
}

void Taker::hurry() {
  hurries_ = true;
  is_pausing_ = false;
  pause_.reset();
  read();
}

void Taker::read() {
  while (!is_pausing_) {
    if (taken_ == messages_max_) {
      ground_.ledger.on_taker_gone(call_, way_);
      source_.reset();
      return std::exchange(ended_, nullptr)(nullptr);
    }
    Bytes message;
    switch (source_->next(&message)) {
      case Source::Next::later: return;
      case Source::Next::message: break;
      case Source::Next::end: {
        std::unique_ptr<Source> over = std::move(source_);
        ground_.ledger.on_taker_gone(call_, way_);
        return std::exchange(ended_, nullptr)(&over->ending());
      }
    }
    ground_.ledger.on_message_taken(call_, way_, message);
    Duration pause = pause_before(call_.id, ++taken_, call_.wish.taking_pause(way_));
    if (pause == Duration{} || hurries_) continue;
    is_pausing_ = true;
    pause_ = ground_.loop.after(pause, [this] {
      is_pausing_ = false;
      read();
    });
  }
}

}  // namespace nebula::sim

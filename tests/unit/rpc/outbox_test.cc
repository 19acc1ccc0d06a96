// unit/rpc/outbox_test.cc - from a source to a stream, as fast as the stream allows.
#include "rpc/outbox.h"

#include <criterion/criterion.h>

#include <string>
#include <vector>

#include "kit/messages.h"
#include "rpc/frame.h"

using namespace nebula;
using namespace nebula::kit;

namespace {

// A stream that takes so many messages before it says to wait.
struct Sink final : public Stream {
  void headers(Metadata, bool) override {}
  bool data(Bytes data, bool, uint32_t messages) override {
    pieces++;
    FrameReader reader(1000, Encoding::gzip);
    reader.feed(std::move(data));
    for (; messages > 0; messages--) {
      Result<std::optional<Frame>> message = reader.next();
      compressed += (*message)->is_compressed;
      Result<Bytes> opened = reader.open(std::move(**message));
      sent.emplace_back((*opened).view());
    }
    cr_assert(!(*reader.next()));
    return room == 0 || --room > 0;
  }
  void consumed(size_t) override {}
  void reset(uint32_t) override {}
  void awaits_rest(bool) override {}
  bool is_unsent() const override { return false; }

  int room = 1000;
  int compressed = 0, pieces = 0;
  std::vector<std::string> sent;
};

struct Desk {
  void start() {
    outbox.start(sink, tray.source(), encoding, [this](Ending how) { ends.push_back(how.status.text()); });
  }
  void writable(int room) {
    sink.room = room;
    outbox.on_writable();
  }

  Sink sink;
  Tray tray;
  Outbox outbox;
  Encoding encoding = Encoding::identity;
  std::vector<std::string> ends;
};

}  // namespace

Test(outbox, sends_what_is_there_and_then_what_comes) {
  Desk desk;
  desk.tray.put("one");
  desk.start();
  cr_assert_eq(desk.sink.sent.size(), 1);
  desk.tray.put("two");
  desk.tray.put("");
  cr_assert(desk.sink.sent == std::vector<std::string>({"one", "two", ""}));
  desk.tray.end({Status(Code::aborted, "no")});
  cr_assert(desk.ends == std::vector<std::string>({"ABORTED: no"}));
  cr_assert(!desk.outbox.is_running());
  desk.outbox.stop();
  cr_assert(!desk.tray.is_held());
}

Test(outbox, compresses_the_messages_that_are_to_be_and_get_smaller_by_it) {
  for (Encoding encoding : {Encoding::identity, Encoding::gzip}) {
    Desk desk;
    desk.encoding = encoding;
    desk.start();
    desk.tray.put(std::string(500, 'a'));
    desk.tray.put_compressed(std::string(500, 'b'));
    desk.tray.put_compressed("small");
    cr_assert_eq(desk.sink.compressed, encoding == Encoding::gzip ? 1 : 0);
    cr_assert(desk.sink.sent == std::vector<std::string>({std::string(500, 'a'), std::string(500, 'b'), "small"}));
  }
}

Test(outbox, sends_a_run_as_it_is_unless_it_is_to_be_compressed) {
  struct Once final : public Source {
    explicit Once(bool compress) { want_compression(compress); }
    Ending& ending() override { return how; }
    Next take(Bytes*) override { return Next::end; }
    Next take_run(Run* next) override {
      if (run.count == 0) return Next::end;
      *next = std::exchange(run, Run{{}, 0});
      return Next::message;
    }
    Ending how;
    Run run;
  };
  std::vector<std::string> messages = {"one", std::string(500, 'a'), "three"};
  std::string wire;
  for (const std::string& message : messages) wire += frame_message(Bytes::copy(message)).view();
  for (bool compress : {false, true}) {
    for (Encoding encoding : {Encoding::identity, Encoding::gzip}) {
      std::unique_ptr<Once> source = std::make_unique<Once>(compress);
      source->run = {Bytes::copy(wire), 3};
      Desk desk;
      desk.outbox.start(desk.sink, std::move(source), encoding, [](Ending) {});
      bool is_packed = compress && encoding == Encoding::gzip;
      cr_assert(desk.sink.sent == messages);
      cr_assert_eq(desk.sink.pieces, is_packed ? 3 : 1);
      cr_assert_eq(desk.sink.compressed, is_packed ? 1 : 0);
    }
  }
}

Test(outbox, pulls_no_further_than_the_stream_takes) {
  Desk desk;
  desk.sink.room = 3;
  desk.tray.put("m", 10);
  desk.tray.end();
  desk.start();
  cr_assert_eq(desk.tray.taken, 3);
  desk.tray.put("late");
  cr_assert_eq(desk.tray.taken, 3, "news from the source are no room in the stream");
  desk.writable(5);
  cr_assert_eq(desk.tray.taken, 8);
  desk.writable(100);
  cr_assert_eq(desk.tray.taken, 11);
  cr_assert(desk.ends == std::vector<std::string>({"OK"}));
}

Test(outbox, drops_its_source_when_it_is_stopped) {
  Desk desk;
  desk.tray.put("one");
  desk.start();
  desk.outbox.stop();
  cr_assert(!desk.tray.is_held());
  desk.tray.put("two");
  desk.writable(9);
  cr_assert_eq(desk.sink.sent.size(), 1);
  cr_assert(desk.ends.empty());
}

Test(outbox, gives_back_a_source_of_which_nothing_was_pulled) {
  Desk desk;
  desk.start();
  std::unique_ptr<Source> source = desk.outbox.take_back();
  cr_assert(source != nullptr && !desk.outbox.is_running());
  desk.tray.put("one");  // heard by nobody
  Sink other;
  Outbox next;
  next.start(other, std::move(source), Encoding::identity, [](Ending) {});
  cr_assert(desk.sink.sent.empty() && other.sent == std::vector<std::string>({"one"}));
  desk.tray.put("two");
  cr_assert_eq(other.sent.size(), 2);
  cr_assert(next.take_back() == nullptr && next.is_running(), "what was pulled is gone");
}

Test(outbox, gives_back_a_source_that_keeps_its_messages) {
  for (bool has_ended : {false, true}) {
    Desk desk;
    desk.tray.keeps = true;
    desk.tray.put("one");
    desk.start();
    if (has_ended) desk.tray.end();
    cr_assert_eq(desk.outbox.is_running(), !has_ended);
    Sink other;
    Outbox next;
    int ends = 0;
    next.start(other, desk.outbox.take_back(), Encoding::identity, [&](Ending ending) { ends += ending.status.ok(); });
    cr_assert(other.sent == std::vector<std::string>({"one"}));
    if (!has_ended) desk.tray.end();
    cr_assert_eq(ends, 1);
  }
}

Test(outbox, lets_go_of_an_ended_source_once_it_is_committed) {
  Desk desk;
  desk.start();
  desk.outbox.commit();
  cr_assert(desk.tray.is_committed && desk.outbox.is_running());
  desk.tray.end();
  cr_assert(desk.tray.is_held(), "who is told of the end has not said so");
  desk.outbox.commit();
  cr_assert(!desk.tray.is_held());
}

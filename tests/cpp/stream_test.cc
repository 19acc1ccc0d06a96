// cpp/stream_test.cc - streams through nebula.hpp: the three shapes, order, backpressure, early endings.
#include "kit.hpp"

Test(stream, of_responses_arrives_whole_and_in_order) {
  World w;
  nebula::ServerStream<Text> stream = w.start().server_stream("/t.T/Down", "20000");
  int next = 0;
  for (Text& message : stream) cr_assert_eq(message, std::to_string(next++));
  cr_assert_eq(next, 20000);
  cr_assert_not(stream.error());
}

Test(stream, of_requests_arrives_whole) {
  World w;
  nebula::ClientStream<Text, Text> stream = w.start().client_stream("/t.T/Up");
  for (int i = 0; i < 2000; i++) cr_assert(stream.write(Text(1000, 'x')));
  cr_assert_eq(stream.finish(), Text("2000 2000000"));
}

Test(stream, goes_both_ways_at_once) {
  World w;
  nebula::BidiStream<Text, Text> stream = w.start().bidi("/t.T/Chat");
  for (int i = 0; i < 100; i++) {
    stream.write(std::to_string(i));
    cr_assert_eq(*stream.read(), std::to_string(i));
  }
  stream.write(Text(4000000, 'x'));
  cr_assert_eq(stream.read()->size(), 4000000);
  stream.end();
  cr_assert_not(stream.read().has_value());
  cr_assert_not(stream.write("late"), "the call has ended well, and nobody wants more");
}

Test(stream, may_be_empty) {
  World w;
  nebula::Channel& channel = w.start();
  cr_assert_eq(channel.client_stream("/t.T/Up").finish(), Text("0 0"));
  cr_assert_not(channel.server_stream("/t.T/Down", "0").read().has_value());
  nebula::BidiStream<Text, Text> stream = channel.bidi("/t.T/Chat");
  stream.write("");
  cr_assert_eq(*stream.read(), Text());
}

Test(stream, waits_for_a_slow_reader) {
  World w;
  std::atomic<int> written{0};
  w.server->server_stream("/t.T/Flood", [&](const Text&, nebula::Writer<Text>& responses) {
    for (; written < 10000; written++) responses.write(Text(10000, 'x'));
  });
  nebula::Channel& channel = w.start();
  nebula::ServerStream<Text> stream = channel.server_stream("/t.T/Flood", "");
  cr_assert(stream.read().has_value());
  for (int i = 0; i < 1000; i++) channel.call("/t.T/Echo", "time goes by");
  cr_assert_lt(written, 1000, "%d messages of 10,000 bytes went to somebody who does not read", written.load());
  int count = 1;
  while (stream.read()) count++;
  cr_assert_eq(count, 10000);
}

Test(stream, tells_how_it_failed_after_its_messages) {
  World w;
  w.server->bidi("/t.T/Break", [](nebula::Stream<Text, Text>& stream, nebula::Context& context) {
    context.send_headers({{"kind", "initial"}});
    stream.write(*stream.read());
    throw nebula::Error(NEBULA_DATA_LOSS, "torn", {{"at", "2"}});
  });
  nebula::BidiStream<Text, Text> stream = w.start().bidi("/t.T/Break");
  stream.write("one");
  cr_assert_eq(*stream.headers().find("kind"), Text("initial"));
  cr_assert_eq(*stream.read(), Text("one"));
  nebula::Error error = error_of([&] { stream.read(); });
  cr_assert_eq(error.code(), NEBULA_DATA_LOSS);
  cr_assert_eq(*error.trailers().find("at"), Text("2"));
  cr_assert_error(while (stream.write("more")), NEBULA_DATA_LOSS);
}

Test(stream, whose_handle_goes_is_cancelled_at_its_handler) {
  World w;
  std::promise<int> read, write;
  w.server->bidi("/t.T/Read", [&](nebula::Stream<Text, Text>& stream) {
    stream.write("ready");
    read.set_value(error_of([&] { while (stream.read()) continue; }).code());
  });
  w.server->server_stream("/t.T/Write", [&](const Text&, nebula::Writer<Text>& responses) {
    write.set_value(error_of([&] { while (responses.write(Text(10000, 'x'))) continue; }).code());
  });
  nebula::Channel& channel = w.start();
  cr_assert(channel.bidi("/t.T/Read").read().has_value());
  cr_assert(channel.server_stream("/t.T/Write", "").read().has_value());
  cr_assert_eq(read.get_future().get(), NEBULA_CANCELLED);
  cr_assert_eq(write.get_future().get(), NEBULA_CANCELLED);
}

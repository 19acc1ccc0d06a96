// cpp/filter_test.cc - filters of nebula.hpp, on both sides and in all shapes.
#include "kit.hpp"

using nebula::FilteredCall;
using nebula::Next;

namespace {

nebula::Filter named(std::vector<Text>& seen, Text name) {
  return [&seen, name](FilteredCall&, const Next& next) {
    seen.push_back(name + " in");
    Text answer = next();
    seen.push_back(name + " out");
    return answer + name;
  };
}

Text joined(const std::vector<Text>& texts) {
  Text all;
  for (const Text& text : texts) all += (all.empty() ? "" : ", ") + text;
  return all;
}

// Marks what goes there with a question mark, and what comes back with an exclamation mark; counts both.
nebula::Filter counting(std::atomic<int>& there, std::atomic<int>& back) {
  return [&](FilteredCall& call, const Next& next) {
    call.on_request([&](Text message) {
      there++;
      return message + "?";
    });
    call.on_answer([&](Text message) {
      back++;
      return message + "!";
    });
    return next();
  };
}

void check_shapes(nebula::Channel& channel, std::atomic<int>& there, std::atomic<int>& back) {
  cr_assert_eq(channel.call("/t.T/Echo", "a"), Text("a?!"));
  cr_assert_eq(channel.start("/t.T/Echo", "b").get(), Text("b?!"));
  cr_assert(there == 2 && back == 2);

  nebula::ServerStream<Text> down = channel.server_stream("/t.T/Down", "3");
  for (int i = 0; i < 3; i++) cr_assert_eq(*down.read(), std::to_string(i) + "!");
  cr_assert_not(down.read().has_value());
  cr_assert(there == 3 && back == 5);

  nebula::ClientStream<Text, Text> up = channel.client_stream("/t.T/Up");
  up.write("12");
  up.write("345");
  cr_assert_eq(up.finish(), Text("2 7!"));
  cr_assert(there == 5 && back == 6);

  nebula::BidiStream<Text, Text> chat = channel.bidi("/t.T/Chat");
  chat.write("x");
  cr_assert_eq(*chat.read(), Text("x?!"));
  chat.end();
  cr_assert_not(chat.read().has_value());
  cr_assert(there == 6 && back == 7);
}

}  // namespace

Test(filter, that_is_first_is_the_outermost) {
  World w;
  std::vector<Text> seen;
  w.start().filter(named(seen, "a")).filter(named(seen, "b"));
  cr_assert_eq(w.channel->call("/t.T/Echo", "x"), Text("xba"));
  cr_assert_eq(joined(seen), Text("a in, b in, b out, a out"));
}

Test(filter, sends_metadata_and_request_and_sees_headers_and_trailers) {
  World w;
  w.server->unary("/t.T/Who", [](const Text& request, nebula::Context& context) {
    context.send_headers({{"early", "1"}});
    context.add_trailer("late", *context.metadata().find("tenant"));
    return request + *context.metadata().find("own");
  });
  Text ends;
  w.start().filter([&](FilteredCall& call, const Next& next) {
    cr_assert_eq(call.method(), Text("/t.T/Who"));
    cr_assert(call.peer.empty() && !call.is_stream() && call.context == nullptr && call.timeout == 20s);
    call.metadata.add("tenant", "a");
    call.set_request(call.request() + "+");
    Text answer = next();
    ends = *call.headers().find("early") + *call.trailers().find("late");
    return answer;
  });
  nebula::CallOptions options(20s);
  options.metadata("own", "1");
  cr_assert_eq(w.channel->call("/t.T/Who", "x", options), Text("x+1"));
  cr_assert_eq(ends, Text("1a"));
  nebula::Future<Text> future = w.channel->start("/t.T/Who", "y", options);
  cr_assert_eq(*future.headers().find("early"), Text("1"));
  cr_assert_eq(*future.trailers().find("late"), Text("a"));
  cr_assert_eq(future.get(), Text("y+1"));
}

Test(filter, answers_without_next) {
  World w;
  w.start().filter([](FilteredCall&, const Next&) { return Text("cached"); });
  cr_assert_eq(w.channel->call("/t.T/Fail", "x"), Text("cached"));
  nebula::BidiStream<Text, Text> stream = w.channel->bidi("/t.T/Chat");
  cr_assert_not(stream.write("x"));
  cr_assert_not(stream.read().has_value());
}

Test(filter, calls_next_again_and_what_is_inside_begins_anew) {
  World w;
  std::vector<Text> seen;
  w.start().filter([](FilteredCall& call, const Next& next) {
    nebula::Error error = error_of(next);
    cr_assert_eq(*error.trailers().find("where"), Text("to"));
    cr_assert_eq(*call.trailers().find("where"), Text("to"));
    call.set_request("second");
    return next();
  });
  w.channel->filter([&](FilteredCall& call, const Next& next) {
    seen.push_back(std::to_string(call.metadata.size()));
    call.metadata.add("try", "1");
    return next();
  });
  cr_assert_eq(error_of([&] { w.channel->call("/t.T/Fail", "first"); }).message(), Text("second"));
  cr_assert_eq(joined(seen), Text("0, 0"));
}

Test(filter, throws_what_the_call_throws) {
  World w;
  w.start().filter([](FilteredCall& call, const Next& next) -> Text {
    if (call.method() == "/t.T/Fail") cr_assert_eq(error_of(next).code(), NEBULA_ABORTED);
    throw std::out_of_range("no token");
  });
  cr_assert_throw(w.channel->call("/t.T/Echo", "x"), std::out_of_range);
  cr_assert_throw(w.channel->start("/t.T/Fail", "x").get(), std::out_of_range);
  cr_assert_eq(w.channel->start("/t.T/Echo", "x").error()->code(), NEBULA_UNKNOWN);
  nebula::BidiStream<Text, Text> stream = w.channel->bidi("/t.T/Chat");
  cr_assert_throw(stream.read(), std::out_of_range);
  nebula::ServerStream<Text> failing = w.channel->server_stream("/t.T/Fail", "x");
  cr_assert_throw(failing.read(), std::out_of_range);
}

Test(filter, of_a_client_has_messages_of_all_shapes_in_hand) {
  World w;
  std::atomic<int> there{0}, back{0};
  w.start().filter(counting(there, back));
  w.channel->filter([](FilteredCall& call, const Next& next) {
    // A request that is a number stays one.
    if (call.method() == "/t.T/Down") call.on_request([](Text message) { return message.substr(0, 1); });
    return next();
  });
  check_shapes(*w.channel, there, back);
}

Test(filter, of_a_server_has_messages_of_all_shapes_in_hand) {
  World w;
  std::atomic<int> there{0}, back{0};
  w.server->filter(counting(there, back));
  check_shapes(w.start(), there, back);
}

Test(filter, is_asked_once_about_a_stream) {
  World w;
  w.start().filter([](FilteredCall& call, const Next& next) {
    cr_assert(call.is_stream());
    next();
    return next();
  });
  nebula::ServerStream<Text> stream = w.channel->server_stream("/t.T/Down", "0");
  cr_assert_error(stream.read(), NEBULA_INVALID_ARGUMENT);
}

Test(filter, has_the_time_of_its_call) {
  World w;
  w.start().filter([](FilteredCall& call, const Next& next) {
    if (call.timeout == 30ms) {
      call.timeout = 20s;  // does not make it longer
      cr_assert_eq(error_of(next).code(), NEBULA_DEADLINE_EXCEEDED);
    } else {
      call.timeout = 20ms;
    }
    return next();
  });
  cr_assert_error(w.channel->call("/t.T/Hang", "", 30ms), NEBULA_DEADLINE_EXCEEDED);
  cr_assert_error(w.channel->call("/t.T/Hang", ""), NEBULA_DEADLINE_EXCEEDED);
  cr_assert_error(w.channel->start("/t.T/Hang", "", 20s).get(), NEBULA_DEADLINE_EXCEEDED);
}

Test(filter, hears_of_a_call_that_is_cancelled_and_of_one_that_nobody_waits_for) {
  World w;
  Gate began, left, dropped;
  std::atomic<int> count{0};
  w.server->filter([&](FilteredCall& call, const Next& next) {
    if (call.method() == "/t.T/Hang") began.open();
    try {
      return next();
    } catch (const nebula::Error& error) {
      if (call.context->is_cancelled() && call.method() == "/t.T/Hang") left.open();
      throw;
    }
  });
  w.start().filter([&](FilteredCall&, const Next& next) {
    try {
      return next();
    } catch (const nebula::Error& error) {
      cr_assert_eq(error.code(), NEBULA_CANCELLED);
      if (++count == 2) dropped.open();
      throw;
    }
  });
  nebula::Future<Text> future = w.channel->start("/t.T/Hang", "");
  began.wait();
  future.cancel();
  cr_assert_error(future.get(), NEBULA_CANCELLED);
  left.wait();
  {
    nebula::BidiStream<Text, Text> stream = w.channel->bidi("/t.T/Chat");
    stream.write("x");
    cr_assert_eq(*stream.read(), Text("x"));
  }
  dropped.wait();
}

Test(filter, of_a_server_refuses_before_the_handler_runs) {
  World w;
  std::atomic<int> calls{0};
  w.server->unary("/t.T/Secret", [&](const Text&) {
    calls++;
    return Text("gold");
  });
  w.server->filter([](FilteredCall& call, const Next& next) {
    const Text* token = call.metadata.find("token");
    if (token == nullptr || *token != "secret") throw nebula::Error(NEBULA_UNAUTHENTICATED, "who?", {{"realm", "t"}});
    return next();
  });
  w.start();
  cr_assert_error(w.channel->call("/t.T/Secret", ""), NEBULA_UNAUTHENTICATED);
  nebula::ServerStream<Text> stream = w.channel->server_stream("/t.T/Down", "3");
  nebula::Error error = error_of([&] { stream.read(); });
  cr_assert_eq(error.code(), NEBULA_UNAUTHENTICATED);
  cr_assert_eq(*error.trailers().find("realm"), Text("t"));
  cr_assert_eq(calls, 0);
  cr_assert_eq(w.channel->call("/t.T/Secret", "", nebula::CallOptions().metadata("token", "secret")), Text("gold"));
}

Test(filter, of_a_server_sees_and_changes_what_there_is_of_a_call) {
  World w;
  w.server->async("/t.T/Later", [](const Text& request, nebula::Answer<Text> answer) {
    std::thread([request, answer = std::move(answer)]() mutable {
      answer.context().add_trailer("late", *answer.context().metadata().find("tenant"));
      answer(request);
    }).detach();
  });
  w.server->filter([](FilteredCall& call, const Next& next) {
    cr_assert(!call.peer.empty() && *call.timeout <= 20s);
    call.metadata = {{"tenant", *call.metadata.find("tenant") + "+"}};
    call.set_request(call.request() + "+");
    Text answer = next();
    call.context->add_trailer("seen", *call.trailers().find("late"));
    return answer + "!";
  });
  w.start();
  nebula::CallOptions options(20s);
  options.metadata("tenant", "a");
  nebula::Future<Text> future = w.channel->start("/t.T/Later", "x", options);
  cr_assert_eq(*future.trailers().find("seen"), Text("a+"));
  cr_assert_eq(future.get(), Text("x+!"));
}

Test(filter, of_a_server_forgives_and_what_it_throws_is_unknown) {
  World w;
  w.server->filter([](FilteredCall& call, const Next& next) -> Text {
    if (call.method() != "/t.T/Fail") throw std::runtime_error("a mistake");
    return "sorry: " + error_of(next).message();
  });
  w.start();
  cr_assert_eq(w.channel->call("/t.T/Fail", "x"), Text("sorry: x"));
  nebula::Error error = error_of([&] { w.channel->call("/t.T/Echo", "x"); });
  cr_assert_eq(error.code(), NEBULA_UNKNOWN);
  cr_assert_eq(error.message(), Text("a mistake"));
}

Test(filter, makes_calls_that_inherit_the_deadline_of_its_own) {
  World w;
  w.server->filter([&](FilteredCall& call, const Next& next) {
    return call.method() == "/t.T/Echo" ? w.channel->call("/t.T/Hang", "") : next();
  });
  w.start();
  cr_assert_error(w.channel->call("/t.T/Echo", "x", 50ms), NEBULA_DEADLINE_EXCEEDED);
}

// pictures/scenes.cc - one function for each picture: who is there, what happens to them, and what is drawn of it.
#include "pictures/scenes.h"

#include <cstdio>
#include <functional>
#include <utility>
#include <vector>

#include "pictures/stage.h"

namespace nebula::pictures {

namespace {

using Value = std::function<double(const Window&)>;

struct Curve {
  std::string name;
  std::vector<std::pair<double, double>> points;
};

struct Event {
  double second;
  std::string words;
};

struct Picture {
  std::string file, title, y_words;
  double y_max;
  std::vector<Event> events;
  std::vector<Curve> curves;
};

Curve curve(std::string name, const std::vector<Window>& windows, const Value& value) {
  Curve curve{std::move(name), {}};
  for (const Window& window : windows)
    if (window.ended > 0) curve.points.emplace_back(window.end_s, value(window));
  return curve;
}

Value share_of(size_t member) {
  return [member](const Window& window) { return window.share(member); };
}

double failed_share(const Window& window) {
  return 100 * static_cast<double>(window.failed) / static_cast<double>(window.ended);
}

// ---- balancers

// Of ten instances one takes ten times as long for ten seconds.
std::vector<Window> one_of_ten_is_slow(const std::string& policy) {
  Stage stage(policy + " ejection=none:");
  stage.calls_a_second = 1000;
  stage.add(10);
  stage.at(5, [&] { stage.member(3).takes = ms(100); });
  stage.at(15, [&] { stage.member(3).takes = ms(10); });
  return stage.run(45);
}

const std::vector<Event> slow_events = {{5, "n3 takes ten times as long"}, {15, "as fast as the others again"}};

Picture p2c() {
  Picture picture{"p2c", "p2c: one of ten instances is slow for a while", "calls that it gets, %", 15, slow_events, {}};
  for (const char* policy : {"round_robin:", "p2c:"})
    picture.curves.push_back(curve(policy, one_of_ten_is_slow(std::string("balancer=") + policy), share_of(3)));
  return picture;
}

Picture latency() {
  Picture picture{"latency", "The same, as callers see it", "latency p99, ms", 140, slow_events, {}};
  for (const char* policy : {"round_robin:", "p2c:"})
    picture.curves.push_back(curve(policy, one_of_ten_is_slow(std::string("balancer=") + policy),
                                   [](const Window& window) { return window.p99_ms; }));
  return picture;
}

Picture least() {
  Stage stage("balancer=least:");
  stage.calls_a_second = 600;
  stage.add(3);
  stage.at(5, [&] { stage.member(2).takes = ms(40); });
  stage.at(15, [&] { stage.member(2).takes = ms(10); });
  const std::vector<Window>& windows = stage.run(20);
  return {"least", "least: one of three instances takes four times as long", "calls, %", 60,
          {{5, "n2 takes 40 ms, not 10"}, {15, "10 ms again"}},
          {curve("n0", windows, share_of(0)), curve("n1", windows, share_of(1)), curve("n2", windows, share_of(2))}};
}

Picture round_robin() {
  Picture picture{"round_robin", "round_robin and random: what one of four instances gets", "calls that n0 gets, %", 50,
                  {{5, "n3 leaves"}}, {}};
  for (const char* policy : {"random:", "round_robin:"}) {
    Stage stage(std::string("balancer=") + policy, ms(200));
    stage.calls_a_second = 600;  // 120 a window: a multiple of three and of four
    stage.add(4);
    stage.at(5, [&] { stage.leave(stage.member(3)); });
    picture.curves.push_back(curve(policy, stage.run(10), share_of(0)));
  }
  return picture;
}

Picture weighted() {
  Stage stage("balancer=weighted:");
  for (uint32_t weight : {5, 3, 2}) {
    stage.add().weight = weight;
    stage.announce(stage.member(weight == 5 ? 0 : weight == 3 ? 1 : 2));
  }
  stage.at(5, [&] { stage.leave(stage.member(1)); });
  stage.at(10, [&] { stage.announce(stage.member(1)); });
  const std::vector<Window>& windows = stage.run(25);
  return {"weighted", "weighted: three instances with the weights 5, 3 and 2", "calls, %", 80,
          {{5, "n1 leaves"}, {10, "n1 comes back, with a slow start"}},
          {curve("n0, weight 5", windows, share_of(0)), curve("n1, weight 3", windows, share_of(1)),
           curve("n2, weight 2", windows, share_of(2))}};
}

Picture ring_hash() {
  Picture picture{"ring_hash", "ring_hash: keys that are not where they were at first", "calls, %", 100,
                  {{5, "n3 of ten leaves"}, {10, "n3 comes back"}}, {}};
  for (const char* policy : {"p2c:", "ring_hash:?key=x-user"}) {
    Stage stage(std::string("balancer=") + policy);
    stage.keys = 200;  // as many as calls in a window
    stage.add(10);
    stage.at(5, [&] { stage.leave(stage.member(3)); });
    stage.at(10, [&] { stage.announce(stage.member(3)); });
    picture.curves.push_back(curve(std::string(policy).substr(0, std::string(policy).find(':') + 1), stage.run(15),
                                   [](const Window& window) {
                                     return 100 * static_cast<double>(window.moved) / static_cast<double>(window.arrived());
                                   }));
  }
  return picture;
}

Picture closest() {
  Stage stage("balancer=closest:?zone=here");
  for (size_t at = 0; at < 8; at++) {
    stage.add().zone = at < 4 ? "here" : "there";
    stage.announce(stage.member(at));
  }
  stage.at(5, [&] { for (size_t at : {0, 1}) stage.stop(stage.member(at)); });
  stage.at(10, [&] { for (size_t at : {2, 3}) stage.stop(stage.member(at)); });
  stage.at(15, [&] { for (size_t at : {0, 1, 2, 3}) stage.start(stage.member(at)); });
  const std::vector<Window>& windows = stage.run(30);
  auto here = [](const Window& window) { return window.share(0) + window.share(1) + window.share(2) + window.share(3); };
  return {"closest", "closest: four instances in one's own zone, four in another", "calls, %", 110,
          {{5, "half of the zone is down"}, {10, "all of it"}, {15, "up again"}},
          {curve("own zone", windows, here),
           curve("other zone", windows, [here](const Window& window) { return window.arrived() == 0 ? 0 : 100 - here(window); })}};
}

Picture pick_first() {
  Stage stage("balancer=pick_first:");
  stage.add(3);
  stage.at(5, [&] { stage.stop(stage.member(0)); stage.leave(stage.member(0)); });
  stage.at(10, [&] { stage.start(stage.member(0)); stage.announce(stage.member(0)); });
  const std::vector<Window>& windows = stage.run(15);
  return {"pick_first", "pick_first: one leader and two spares", "calls, %", 110,
          {{5, "n0 dies"}, {10, "n0 comes back"}},
          {curve("n0", windows, share_of(0)), curve("n1", windows, share_of(1)), curve("n2", windows, share_of(2))}};
}

Picture slow_start() {
  Picture picture{"slow_start", "slow_start: a fifth instance joins four", "calls that it gets, %", 30,
                  {{5, "n4 joins"}}, {}};
  for (const char* option : {"0s", "10s"}) {
    Stage stage(std::string("balancer=p2c:?slow_start=") + option);
    stage.add(4);
    stage.at(5, [&] { stage.announce(stage.add()); });
    picture.curves.push_back(curve(std::string("slow_start=") + option, stage.run(25), share_of(4)));
  }
  return picture;
}

Picture subset() {
  Picture picture{"subset", "subset: a service grows to 200 instances", "instances that a client uses", 220, {}, {}};
  for (auto [name, policy] : {std::pair("all of them", "subset:?nodes=1000"), {"by default", ""},
                              {"nodes=50", "subset:?nodes=50"}}) {
    Stage stage(policy);
    stage.calls_a_second = 100;
    stage.add(1);
    for (int second = 1; second < 20; second++) stage.at(second, [&] { stage.add(10); });
    stage.at(20, [&] { stage.add(9); });
    picture.curves.push_back(curve(name, stage.run(25), [](const Window& window) { return static_cast<double>(window.nodes); }));
  }
  return picture;
}

// ---- breakers, ejection

Picture breaker() {
  Picture picture{"breaker", "breakers: one of three instances fails all of its calls for a while",
                  "calls that it gets, %", 50, {{5, "n1 fails"}, {12, "n1 works again"}}, {}};
  for (const char* breaker : {"none:", "ratio:", "streak:"}) {
    Stage stage(std::string("ejection=none: breaker=") + breaker);
    stage.add(3);
    stage.at(5, [&] { stage.member(1).failing = 100; });
    stage.at(12, [&] { stage.member(1).failing = 0; });
    picture.curves.push_back(curve(std::string("breaker=") + breaker, stage.run(35), share_of(1)));
  }
  return picture;
}

Picture breaker_failures() {
  Picture picture{"breaker_failures", "The same, as callers see it", "calls that fail, %", 50,
                  {{5, "n1 fails"}, {12, "n1 works again"}}, {}};
  for (const char* breaker : {"none:", "ratio:", "streak:"}) {
    Stage stage(std::string("ejection=none: breaker=") + breaker, ms(250));
    stage.add(3);
    stage.at(5, [&] { stage.member(1).failing = 100; });
    stage.at(12, [&] { stage.member(1).failing = 0; });
    picture.curves.push_back(curve(std::string("breaker=") + breaker, stage.run(20), failed_share));
  }
  return picture;
}

Picture breaker_cost() {
  Picture picture{"breaker_cost", "breaker=cost: one of three instances fails a third of its calls", "calls that it gets, %", 50,
                  {{5, "n1 fails them at once"}, {15, "they hang for 50 ms first"}}, {}};
  for (const char* breaker : {"ratio:?open=0.2", "cost:"}) {
    Stage stage(std::string("balancer=round_robin: ejection=none: breaker=") + breaker);
    stage.add(3);
    stage.at(5, [&] { stage.member(1).failing = 33; stage.member(1).fails_after = ms(1); });
    stage.at(15, [&] { stage.member(1).fails_after = ms(50); });
    picture.curves.push_back(curve(std::string("breaker=") + breaker, stage.run(25), share_of(1)));
  }
  return picture;
}

Picture recovery() {
  Picture picture{"recovery", "recovery: ten instances crash, and come back one after the other",
                  "calls a second that the first one gets", 450,
                  {{5, "all crash"}, {8, "n0 is back, then one more every two seconds"}}, {}};
  for (const char* recovery : {"recovery:", "recovery:?working=0.5"}) {
    Stage stage(std::string("balancer=round_robin: ") + recovery);
    stage.add(10);
    stage.at(5, [&] { for (size_t at = 0; at < 10; at++) { stage.leave(stage.member(at)); stage.stop(stage.member(at)); } });
    for (size_t at = 0; at < 10; at++)
      stage.at(8 + 2 * static_cast<double>(at), [&stage, at] { stage.start(stage.member(at)); stage.announce(stage.member(at)); });
    picture.curves.push_back(curve(recovery, stage.run(28), [](const Window& window) {
      return window.calls.empty() ? 0 : 2 * static_cast<double>(window.calls[0]);  // in half a second
    }));
  }
  return picture;
}

Picture ejection() {
  Picture picture{"ejection", "ejection: one of ten instances fails a fifth of its calls", "calls that it gets, %", 15,
                  {{15, "n4 begins to fail"}}, {}};
  for (const char* ejection : {"none:", "outliers:"}) {
    Stage stage(std::string("balancer=round_robin: ejection=") + ejection, sec(1));
    stage.calls_a_second = 150;
    stage.add(10);
    stage.at(15, [&] { stage.member(4).failing = 20; });
    picture.curves.push_back(curve(std::string("ejection=") + ejection, stage.run(150), share_of(4)));
  }
  return picture;
}

// ---- retries, deadlines

Picture retry() {
  Picture picture{"retry", "retry: one of three instances fails a fifth of its calls", "calls that fail, %", 12,
                  {{5, "n1 fails"}, {15, "n1 works again"}}, {}};
  for (const char* retry : {"failfast:", "retry:"}) {
    Stage stage(std::string("balancer=round_robin: breaker=none: ejection=none: ") + retry);
    stage.is_idempotent = true;
    stage.calls_a_second = 200;
    stage.add(3);
    stage.at(5, [&] { stage.member(1).failing = 20; });
    stage.at(15, [&] { stage.member(1).failing = 0; });
    picture.curves.push_back(curve(retry, stage.run(20), failed_share));
  }
  return picture;
}

Picture budget() {
  Picture picture{"budget", "The budget of retry: a service fails all calls for a while", "tries for each call", 3.2,
                  {{5, "all fail"}, {15, "all work again"}}, {}};
  for (const char* retry : {"retry:?budget=1", "retry:"}) {
    Stage stage(std::string("balancer=round_robin: ") + retry);
    stage.is_idempotent = true;
    stage.calls_a_second = 100;
    stage.add(3);
    stage.at(5, [&] { for (size_t at : {0, 1, 2}) stage.member(at).failing = 100; });
    stage.at(15, [&] { for (size_t at : {0, 1, 2}) stage.member(at).failing = 0; });
    picture.curves.push_back(curve(retry, stage.run(20), [](const Window& window) {
      return static_cast<double>(window.arrived()) / static_cast<double>(window.begun);
    }));
  }
  return picture;
}

Picture deadline() {
  Picture picture{"deadline", "deadline: all instances become slow for a while", "slowest call, ms", 2600,
                  {{5, "answers take 2 s"}, {10, "10 ms again"}}, {}};
  for (const char* policy : {"", "deadline:?default=200ms"}) {
    Stage stage(policy);
    stage.calls_a_second = 100;
    stage.add(4);
    stage.at(5, [&] { for (size_t at : {0, 1, 2, 3}) stage.member(at).takes = sec(2); });
    stage.at(10, [&] { for (size_t at : {0, 1, 2, 3}) stage.member(at).takes = ms(10); });
    picture.curves.push_back(curve(*policy == '\0' ? "no deadline" : "default=200ms", stage.run(15),
                                   [](const Window& window) { return window.worst_ms; }));
  }
  return picture;
}

// ---- as text

std::string number(double value) {
  char text[32];
  std::snprintf(text, sizeof text, "%.4g", value);
  return text;
}

std::string quoted(const std::string& text) { return "\"" + text + "\""; }  // of words that need no escapes

template <class Item>
std::string list(const std::vector<Item>& items, const char* between, std::string (*text_of)(const Item&)) {
  std::string text = "[";
  for (const Item& item : items) text.append(&item == items.data() ? "" : between).append(text_of(item));
  return text + "]";
}

std::string point_text(const std::pair<double, double>& point) {
  return "[" + number(point.first) + "," + number(point.second) + "]";
}
std::string event_text(const Event& event) { return "[" + number(event.second) + ", " + quoted(event.words) + "]"; }
std::string curve_text(const Curve& curve) {
  return "{\"name\": " + quoted(curve.name) + ", \"points\": " + list(curve.points, ",", point_text) + "}";
}
std::string picture_text(const Picture& picture) {
  return "{\"file\": " + quoted(picture.file) + ", \"title\": " + quoted(picture.title) +
         ",\n\"y\": " + quoted(picture.y_words) + ", \"y_max\": " + number(picture.y_max) +
         ", \"events\": " + list(picture.events, ", ", event_text) + ",\n\"curves\": [\n" +
         list(picture.curves, ",\n", curve_text).substr(1) + "}";
}

constexpr Picture (*drawings[])() = {
    p2c, latency, least, round_robin, weighted, ring_hash, closest, pick_first, slow_start, subset,
    breaker, breaker_failures, breaker_cost, recovery, ejection, retry, budget, deadline};

}  // namespace

std::string draw(size_t picture) { return picture_text(drawings[picture]()); }

size_t count() { return std::size(drawings); }

std::string draw_all() {
  std::string text = "[";
  for (size_t picture = 0; picture < count(); picture++) text.append(picture == 0 ? "" : ",\n").append(draw(picture));
  return text + "]\n";
}

}  // namespace nebula::pictures

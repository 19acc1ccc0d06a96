// unit/rpc/call_test.cc - a Context is cancelled once and heard once.
#include "rpc/call.h"

#include <criterion/criterion.h>

#include "kit/world.h"

using namespace nebula;
using namespace nebula::kit;

Test(call, tells_who_listens_why_it_was_cancelled) {
  Context context(Time::never(), {});
  std::string heard;
  context.on_cancel([&](const Status& why) { heard = why.text(); });
  cr_assert(!context.is_cancelled());
  context.cancel(cancelled("enough"));
  cr_assert(context.is_cancelled());
  cr_assert(heard == "CANCELLED: enough");
}

Test(call, keeps_the_first_reason) {
  Context context(Time::never(), {});
  int heard = 0;
  context.on_cancel([&](const Status&) { heard++; });
  context.cancel(cancelled("first"));
  context.cancel(unavailable("second"));
  cr_assert_eq(heard, 1);
  std::string late;
  context.on_cancel([&](const Status& why) { late = why.text(); });
  cr_assert(late == "CANCELLED: first");
}

Test(call, tells_who_comes_late_at_once) {
  Context context(Time::never(), {});
  context.cancel(cancelled("enough"));
  int heard = 0;
  context.on_cancel([&](const Status&) { heard++; });
  cr_assert_eq(heard, 1);
  context.on_cancel(nullptr);
}

Test(call, tells_only_the_last_who_asked) {
  Context context(Time::never(), {});
  int first = 0, second = 0;
  context.on_cancel([&](const Status&) { first++; });
  context.on_cancel([&](const Status&) { second++; });
  context.cancel(cancelled("enough"));
  cr_assert_eq(first, 0);
  cr_assert_eq(second, 1);
}

Test(call, tells_nobody_who_has_asked_not_to_be_told) {
  Context context(Time::never(), {});
  int heard = 0;
  context.on_cancel([&](const Status&) { heard++; });
  context.on_cancel(nullptr);
  context.cancel(cancelled("enough"));
  cr_assert_eq(heard, 0);
}

Test(call, may_end_with_its_call_while_it_tells_of_its_end) {
  std::unique_ptr<Context> context = std::make_unique<Context>(Time::never(), nullptr);
  std::string heard;
  context->on_cancel([&](const Status& why) {
    context.reset();
    heard = why.text();
  });
  context->cancel(cancelled("enough"));
  cr_assert(heard == "CANCELLED: enough");
}

Test(call, is_cancelled_when_its_deadline_comes_and_not_before) {
  SimWorld world;
  Context context(world.loop.now() + ms(100), {});
  std::string heard;
  Time when;
  context.on_cancel([&](const Status& why) {
    heard = why.text();
    when = world.loop.now();
  });
  context.keep_deadline(world.loop);
  world.loop.run_for(ms(99));
  cr_assert(heard.empty());
  world.loop.run_for(sec(1));
  cr_assert(heard == "DEADLINE_EXCEEDED: the deadline passed");
  cr_assert_eq(when.ns, context.deadline().ns);
}

Test(call, sets_no_timer_for_a_call_without_deadline) {
  SimWorld world;
  Context context(Time::never(), {});
  context.keep_deadline(world.loop);
  cr_assert_eq(world.loop.timer_count(), 0);
}

Test(call, takes_its_timer_with_it) {
  SimWorld world;
  {
    Context context(world.loop.now() + ms(100), {});
    context.keep_deadline(world.loop);
    cr_assert_eq(world.loop.timer_count(), 1);
  }
  cr_assert_eq(world.loop.timer_count(), 0);
}

Test(call, may_end_with_its_call_when_the_deadline_comes) {
  SimWorld world;
  std::unique_ptr<Context> context = std::make_unique<Context>(world.loop.now() + ms(1), nullptr);
  context->on_cancel([&](const Status&) { context.reset(); });
  context->keep_deadline(world.loop);
  world.loop.run_for(ms(2));
  cr_assert(context == nullptr);
}

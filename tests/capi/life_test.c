/* tests/capi/life_test.c - engines, queues, servers and channels: made, misused, freed; and names. */
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include "kit.h"

static void make_directory(char *path) { cr_assert_not_null(mkdtemp(path)); }

static void remove_directory(const char *path) {
  char command[256];
  snprintf(command, sizeof command, "rm -rf '%s'", path);
  cr_assert_eq(system(command), 0);
}

Test(life, the_library_says_who_it_is) {
  cr_assert_str_eq(nebula_version(), "0.1.0");
  cr_assert_eq(nebula_abi() >> 16, NEBULA_ABI_MAJOR);
  cr_assert_str_eq(nebula_strerror(NEBULA_UNAVAILABLE), "UNAVAILABLE");
  cr_assert(strstr(nebula_strerror(NEBULA_E_STALE), "over") != NULL);
  cr_assert_not_null(nebula_strerror(-1000));
  cr_assert_not_null(nebula_strerror(INT32_MIN));
  cr_assert_not_null(nebula_strerror(4711));
}

Test(life, options_from_the_future_are_refused_only_where_they_are_set) {
  struct {
    nebula_engine_options known;
    uint64_t future;
  } options = {{sizeof options, 0, "mem:", 0}, 0};
  nebula_error error = {0};
  nebula_engine *engine = nebula_engine_new(&options.known, &error);
  cr_assert_not_null(engine);
  nebula_engine_free(engine);
  options.future = 1;
  cr_assert_null(nebula_engine_new(&options.known, &error));
  cr_assert_eq(error.code, NEBULA_E_VERSION);
  options.known.size = 0;
  cr_assert_null(nebula_engine_new(&options.known, NULL));
}

Test(life, wrong_arguments_get_an_answer) {
  nebula_error error = {0};
  nebula_engine_options bad = {sizeof bad, 0, "no scheme", 0};
  cr_assert_null(nebula_engine_new(&bad, &error));
  cr_assert(strstr(error.message, "no scheme") != NULL, "%s", error.message);
  cr_assert_null(new_queue(NULL, &error));
  cr_assert_null(nebula_server_new(NULL, NULL, &error));
  cr_assert_null(nebula_channel_new(NULL, "mem:x", NULL, &error));
  cr_assert_eq(nebula_poll(NULL, 0), NEBULA_E_ARGUMENT);
  cr_assert_eq(nebula_wake(NULL, 0), NEBULA_E_ARGUMENT);
  nebula_engine_free(NULL);
  nebula_queue_free(NULL);
  nebula_server_free(NULL);
  nebula_channel_free(NULL);
  nebula_buffer_unref(NULL);

  world w = make_world();
  cr_assert_eq(nebula_channel_method(w.channel, "no/slash", NEBULA_UNARY), 0);
  cr_assert_eq(nebula_channel_method(w.channel, "/only", NEBULA_UNARY), 0);
  cr_assert_eq(nebula_channel_method(w.channel, "/a/b", 4), 0);
  cr_assert_eq(nebula_channel_method(w.channel, "/a/b", 32), 0);
  cr_assert_eq(nebula_channel_method(w.channel, "/test.Echo/Echo", NEBULA_UNARY), w.echo);
  cr_assert_null(nebula_channel_new(w.engine, "gopher://x", NULL, &error));
  cr_assert(strstr(error.message, "nebula://name") != NULL, "%s", error.message);
  cr_assert_eq(nebula_server_method(w.server, "/late/One", NEBULA_UNARY, 1), NEBULA_E_STATE);
  cr_assert_eq(nebula_server_start(w.server, &w.queue, 1, &error), NEBULA_E_STATE);
  free_world(&w);
}

Test(life, wake_ends_a_poll) {
  world w = make_world();
  cr_assert_eq(nebula_wake(w.queue, 5), 0);
  turn_until(&w, &w.woken, 1);
  free_world(&w);
}

static void *poll_for_long(void *queue) {
  int32_t count;
  do count = nebula_poll(queue, 10000);
  while (count == NEBULA_E_BUSY); /* the other thread looks in now and then */
  return (void *)(intptr_t)count;
}

Test(life, a_second_poller_is_told) {
  world w = make_world();
  while (turn(&w, 0) > 0) {}
  pthread_t thread;
  pthread_create(&thread, NULL, poll_for_long, w.queue);
  int32_t second = 0;
  for (int tries = 0; second != NEBULA_E_BUSY && tries < 1000000; tries++) second = nebula_poll(w.queue, 0);
  cr_assert_eq(second, NEBULA_E_BUSY);
  nebula_wake(w.queue, 0);
  void *count;
  pthread_join(thread, &count);
  cr_assert_eq((intptr_t)count, 1);
  free_world(&w);
}

Test(life, a_freed_channel_ends_its_calls) {
  world w = make_world();
  start(&w, w.hang, "x", 0);
  while (w.hung_call == 0) turn(&w, 1000);
  nebula_channel_free(w.channel);
  w.channel = NULL;
  turn_until(&w, &w.finished, 1);
  cr_assert_eq(w.last.status, NEBULA_CANCELLED);
  cr_assert(has_text(&w, "freed"), "%s", w.text);
  cr_assert_eq(nebula_call_start(w.queue, w.echo, 0, 0, NULL, 0, "x", 1, NEBULA_END), 0);
  free_world(&w);
}

Test(life, all_may_be_freed_with_calls_open) {
  world w = make_world();
  for (int i = 0; i < 10; i++) start(&w, w.hang, "x", 0);
  while (w.served < 10) turn(&w, 1000);
  for (int i = 0; i < 10; i++) start(&w, w.echo, "never sent", 0);
  free_world(&w);
}

Test(life, drain_lets_calls_end_and_says_so) {
  world w = make_world();
  start(&w, w.hang, "x", 0);
  while (w.hung_call == 0) turn(&w, 1000);
  cr_assert_eq(nebula_server_drain(w.server, 5000, 9), 0);
  for (int turns = 0; turns < 20; turns++) turn(&w, 1);
  cr_assert_eq(w.drained, 0);
  cr_assert_eq(nebula_call_send(w.hung_call, "done", 4, NEBULA_END), 0);
  turn_until(&w, &w.finished, 1);
  cr_assert_str_eq(w.text, "done");
  turn_until(&w, &w.drained, 1);
  free_world(&w);
}

Test(life, drain_cuts_off_what_does_not_end) {
  world w = make_world();
  start(&w, w.hang, "x", 0);
  while (w.hung_call == 0) turn(&w, 1000);
  cr_assert_eq(nebula_server_drain(w.server, 10, 9), 0);
  turn_until(&w, &w.finished, 1);
  cr_assert_eq(w.last.status, NEBULA_UNAVAILABLE, "%s", w.text);
  turn_until(&w, &w.drained, 1);
  cr_assert_eq(w.cancelled_call, w.hung_call);
  free_world(&w);
}

Test(life, a_taken_port_is_seen_as_taken) {
  world w = make_world_at("mem:", "tcp://127.0.0.1:0", "mem:x");
  char urls[256];
  nebula_server_urls(w.server, urls, sizeof urls);
  nebula_error error = {0};
  nebula_server *second = nebula_server_new(w.engine, NULL, NULL);
  cr_assert_eq(nebula_server_method(second, "/a/B", NEBULA_UNARY, 1), 0);
  cr_assert_eq(nebula_server_listen(second, urls, NULL, &error), 0);
  cr_assert_eq(nebula_server_start(second, &w.queue, 1, &error), NEBULA_E_ADDRESS);
  cr_assert(strstr(error.message, urls) != NULL, "%s", error.message);
  nebula_server_free(second);
  free_world(&w);
}

Test(life, a_server_is_found_by_name_and_a_typo_is_helped) {
  char directory[] = "/tmp/nebXXXXXX";
  make_directory(directory);
  char registry[64];
  snprintf(registry, sizeof registry, "host:?dir=%s", directory);
  world w = make_world_at(registry, NULL, "nebula:");
  char urls[512];
  nebula_server_urls(w.server, urls, sizeof urls);
  cr_assert(strstr(urls, "unix:") && strstr(urls, "tcp://127.0.0.1:2"), "%s", urls);
  call_and_wait(&w, w.echo, "by name");
  cr_assert_eq(w.last.status, 0, "%s", w.text);
  cr_assert_str_eq(w.text, "by name");

  call_and_wait(&w, nebula_channel_method(w.channel, "/test.Ecco/Echo", NEBULA_UNARY), "x");
  cr_assert_eq(w.last.status, NEBULA_UNAVAILABLE);
  cr_assert(has_text(&w, "no instance of \"test.Ecco\"") && has_text(&w, "\"test.Echo\""), "%s", w.text);
  free_world(&w);
  remove_directory(directory);
}

Test(life, a_registry_that_cannot_be_used_is_said_in_one_sentence) {
  char directory[] = "/tmp/nebXXXXXX";
  make_directory(directory);
  char registry[64];
  snprintf(registry, sizeof registry, "host:?dir=%s/file/x", directory);
  char file[64];
  snprintf(file, sizeof file, "%s/file", directory);
  fclose(fopen(file, "w"));
  nebula_engine_options options = {sizeof options, 0, registry, 0};
  nebula_error error = {0};
  nebula_engine *engine = nebula_engine_new(&options, &error);
  nebula_queue *queue = new_queue(engine, &error);
  nebula_server *server = nebula_server_new(engine, NULL, &error);
  nebula_server_method(server, "/a/B", NEBULA_UNARY, 1);
  cr_assert_eq(nebula_server_listen(server, NULL, NULL, &error), 0);
  cr_assert_lt(nebula_server_start(server, &queue, 1, &error), 0);
  cr_assert(strstr(error.message, file) != NULL, "%s", error.message);
  nebula_server_free(server);
  nebula_queue_free(queue);
  nebula_engine_free(engine);
  remove_directory(directory);
}

Test(life, a_forked_child_is_told_and_can_begin_anew) {
  world w = make_world_at("mem:", "tcp://127.0.0.1:0", "mem:x");
  pid_t child = fork();
  cr_assert_geq(child, 0);
  if (child == 0) {
    nebula_error error = {0};
    int wrong = 0;
    wrong |= nebula_poll(w.queue, 0) != NEBULA_E_FORKED;
    wrong |= nebula_queue_fd(w.queue) != NEBULA_E_FORKED;
    wrong |= nebula_call_start(w.queue, w.echo, 0, 0, NULL, 0, "x", 1, NEBULA_END) != 0;
    wrong |= new_queue(w.engine, &error) != NULL || error.code != NEBULA_E_FORKED;
    free_world(&w); /* must not hang, and must not touch what is the parent's */
    world own = make_world();
    call_and_wait(&own, own.echo, "child");
    wrong |= strcmp(own.text, "child") != 0;
    free_world(&own);
    _exit(wrong);
  }
  int status = 0;
  cr_assert_eq(waitpid(child, &status, 0), child);
  cr_assert(WIFEXITED(status) && WEXITSTATUS(status) == 0, "child: %x", status);
  char urls[256];
  nebula_server_urls(w.server, urls, sizeof urls);
  nebula_channel *channel = nebula_channel_new(w.engine, urls, NULL, NULL);
  call_and_wait(&w, nebula_channel_method(channel, "/test.Echo/Echo", NEBULA_UNARY), "parent");
  cr_assert_str_eq(w.text, "parent");
  nebula_channel_free(channel);
  free_world(&w);
}

/* A server in a process of its own, that says its address and waits to be killed. */
static pid_t spawn_server(char *urls, size_t size) {
  int ends[2];
  cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, ends), 0);
  pid_t child = fork();
  if (child == 0) {
    close(ends[0]);
    world w = make_world_at("mem:", "tcp://127.0.0.1:0", "mem:x");
    char text[256];
    int32_t length = nebula_server_urls(w.server, text, sizeof text);
    if (write(ends[1], text, (size_t)length + 1) < 0) _exit(1);
    while (1) turn(&w, 1000);
  }
  close(ends[1]);
  cr_assert_gt(read(ends[0], urls, size), 0);
  close(ends[0]);
  return child;
}

Test(life, a_killed_peer_does_not_kill_us) {
  struct sigaction before, after;
  signal(SIGPIPE, SIG_DFL);
  sigaction(SIGPIPE, NULL, &before);
  char urls[256];
  pid_t server = spawn_server(urls, sizeof urls);
  world w = make_world();
  nebula_channel *channel = nebula_channel_new(w.engine, urls, NULL, NULL);
  uint64_t echo = nebula_channel_method(channel, "/test.Echo/Echo", NEBULA_UNARY);
  call_and_wait(&w, echo, "alive");
  cr_assert_str_eq(w.text, "alive");

  kill(server, SIGSTOP); /* so that what is written piles up and is written into the void */
  char *big = calloc(1, 1 << 20);
  int before_kill = w.finished;
  for (int i = 0; i < 20; i++) nebula_call_start(w.queue, echo, 7, 0, NULL, 0, big, 1 << 20, NEBULA_END);
  for (int turns = 0; turns < 20; turns++) turn(&w, 1);
  kill(server, SIGKILL);
  turn_until(&w, &w.finished, before_kill + 20);
  cr_assert_eq(w.last.status, NEBULA_UNAVAILABLE, "%s", w.text);
  waitpid(server, NULL, 0);
  call_and_wait(&w, echo, "into the void");
  cr_assert_eq(w.last.status, NEBULA_UNAVAILABLE);
  sigaction(SIGPIPE, NULL, &after);
  cr_assert_eq(before.sa_handler, after.sa_handler);
  sigset_t mask;
  pthread_sigmask(SIG_BLOCK, NULL, &mask);
  cr_assert_eq(sigismember(&mask, SIGPIPE), 0);
  free(big);
  nebula_channel_free(channel);
  free_world(&w);
}

static void call_until(world *w, int32_t status) {
  for (int calls = 0; calls < 10000 && (calls == 0 || w->last.status != status); calls++) call_and_wait(w, w->echo, "hi");
  cr_assert_eq(w->last.status, status, "%d: %s", w->last.status, w->text);
}

Test(life, a_name_whose_server_says_that_it_does_not_serve_is_not_called) {
  world w = make_world_at("mem:", NULL, "nebula://test.Echo");
  call_until(&w, NEBULA_OK);
  cr_assert_eq(nebula_server_health(w.server, "test.Echo", 2), 0);
  call_until(&w, NEBULA_UNAVAILABLE);
  cr_assert(has_text(&w, "says in the registry that it does not serve"), "%s", w.text);
  cr_assert_eq(nebula_server_health(w.server, "test.Echo", 1), 0);
  call_until(&w, NEBULA_OK);
  cr_assert_eq(nebula_server_health(w.server, "", 2), 0);
  call_until(&w, NEBULA_UNAVAILABLE);
  free_world(&w);
}

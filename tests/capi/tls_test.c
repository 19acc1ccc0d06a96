/* tests/capi/tls_test.c - tls:// through nebula.h: by options and by address, and what is refused at once. */
#include "kit.h"

/* A folder with a self-signed pair for localhost, which is its own authority. */
typedef struct files {
  char folder[32], certificate[64], key[64], none[64];
} files;

static files make_files(void) {
  files f;
  strcpy(f.folder, "/tmp/nebula-tls-XXXXXX");
  cr_assert_not_null(mkdtemp(f.folder));
  snprintf(f.certificate, sizeof f.certificate, "%s/cert.pem", f.folder);
  snprintf(f.key, sizeof f.key, "%s/key.pem", f.folder);
  snprintf(f.none, sizeof f.none, "%s/none.pem", f.folder);
  char command[512];
  snprintf(command, sizeof command,
           "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout %s -out %s -subj /CN=test "
           "-addext subjectAltName=DNS:localhost,DNS:test.host 2>/dev/null", f.key, f.certificate);
  cr_assert_eq(system(command), 0);
  return f;
}

static void remove_files(files *f) {
  unlink(f->certificate);
  unlink(f->key);
  rmdir(f->folder);
}

/* An engine with a server at `address`; w.channel is NULL. */
static world serve(const char *address, const nebula_tls *tls, const char *announce) {
  world w;
  memset(&w, 0, sizeof w);
  nebula_error error = {0};
  nebula_engine_options options = {sizeof options, 0, "mem:", 0};
  w.engine = nebula_engine_new(&options, &error);
  w.queue = new_queue(w.engine, &error);
  w.server = nebula_server_new(w.engine, NULL, &error);
  cr_assert_eq(nebula_server_method(w.server, "/test.Echo/Echo", NEBULA_UNARY, ECHO), 0);
  nebula_listen_options listen = {sizeof listen, 0, announce, tls};
  cr_assert_eq(nebula_server_listen(w.server, address, &listen, &error), 0, "%s", error.message);
  cr_assert_eq(nebula_server_start(w.server, &w.queue, 1, &error), 0, "%s", error.message);
  return w;
}

static void call(world *w, const char *target, const nebula_tls *tls) {
  nebula_error error = {0};
  nebula_channel_options options = {.size = sizeof options, .tls = tls};
  nebula_channel_free(w->channel);
  w->channel = nebula_channel_new(w->engine, target, &options, &error);
  cr_assert_not_null(w->channel, "%s", error.message);
  w->echo = nebula_channel_method(w->channel, "/test.Echo/Echo", NEBULA_UNARY);
  call_and_wait(w, w->echo, "hello");
}

/* tls://localhost:<the port of the server> */
static const char *target_of(world *w, char *out) {
  char urls[128];
  nebula_server_urls(w->server, urls, sizeof urls);
  cr_assert_null(strstr(urls, "cert"), "%s", urls);
  sprintf(out, "tls://localhost%s", strrchr(urls, ':'));
  return out;
}

Test(tls, by_options) {
  files f = make_files();
  nebula_tls server = {sizeof server, 0, f.certificate, f.key, NULL, NULL};
  nebula_tls client = {sizeof client, 0, NULL, NULL, f.certificate, NULL};
  world w = serve("tls://127.0.0.1:0", &server, NULL);
  char target[64];
  call(&w, target_of(&w, target), &client);
  cr_assert_eq(w.last.status, NEBULA_OK, "%s", w.text);
  cr_assert_str_eq(w.text, "hello");

  call(&w, target, NULL);  /* the system's authorities */
  cr_assert_eq(w.last.status, NEBULA_UNAVAILABLE);
  cr_assert(has_text(&w, "has 1 instance, but it cannot be reached: dial tls://localhost:"), "%s", w.text);
  cr_assert(has_text(&w, "certificate is self-signed"), "%s", w.text);

  nebula_tls other = {sizeof other, 0, NULL, NULL, f.certificate, "other.host"};
  call(&w, target, &other);
  cr_assert(has_text(&w, "certificate is for localhost, test.host, not for other.host"), "%s", w.text);
  nebula_tls alias = {sizeof alias, 0, NULL, NULL, f.certificate, "test.host"};
  call(&w, target, &alias);
  cr_assert_eq(w.last.status, NEBULA_OK, "%s", w.text);
  free_world(&w);
  remove_files(&f);
}

Test(tls, by_address) {
  files f = make_files();
  char address[320], target[64], dialled[320];
  snprintf(address, sizeof address, "tls://127.0.0.1:0?cert=%s&key=%s&ca=%s", f.certificate, f.key, f.certificate);
  world w = serve(address, NULL, NULL);
  snprintf(dialled, sizeof dialled, "%s?ca=%s", target_of(&w, target), f.certificate);
  call(&w, dialled, NULL);
  cr_assert_eq(w.last.status, NEBULA_UNAVAILABLE);
  cr_assert(has_text(&w, "client certificate missing"), "%s", w.text);
  snprintf(dialled, sizeof dialled, "%s?ca=%s&cert=%s&key=%s", target, f.certificate, f.certificate, f.key);
  call(&w, dialled, NULL);
  cr_assert_eq(w.last.status, NEBULA_OK, "%s", w.text);
  free_world(&w);
  remove_files(&f);
}

Test(tls, by_name) {
  files f = make_files();
  nebula_tls server = {sizeof server, 0, f.certificate, f.key, NULL, NULL};
  nebula_tls client = {sizeof client, 0, NULL, NULL, f.certificate, NULL};
  world w = serve("tls://0.0.0.0:0", &server, "test.Echo");
  call(&w, "nebula://test.Echo", &client);
  cr_assert_eq(w.last.status, NEBULA_OK, "%s", w.text);
  call(&w, "nebula:", &client);
  cr_assert_eq(w.last.status, NEBULA_OK, "%s", w.text);
  call(&w, "nebula://test.Echo", NULL);
  cr_assert(has_text(&w, "certificate is self-signed"), "%s", w.text);
  free_world(&w);
  remove_files(&f);
}

Test(tls, who_wants_it_gets_nothing_else) {
  world w = serve("tcp://127.0.0.1:0", NULL, "test.Echo");
  nebula_tls any = {sizeof any, 0, NULL, NULL, NULL, NULL};
  call(&w, "nebula:", &any);
  cr_assert_eq(w.last.status, NEBULA_UNAVAILABLE);
  cr_assert(has_text(&w, "has 1 instance, but it cannot be reached: "), "%s", w.text);
  call(&w, "nebula:", NULL);
  cr_assert_eq(w.last.status, NEBULA_OK, "%s", w.text);
  free_world(&w);
}

Test(tls, what_cannot_work_is_said_at_once) {
  files f = make_files();
  nebula_error error = {0};
  nebula_engine_options options = {sizeof options, 0, "mem:", 0};
  nebula_engine *engine = nebula_engine_new(&options, &error);
  nebula_server *server = nebula_server_new(engine, NULL, &error);
  nebula_tls tls = {sizeof tls, 0, f.none, f.key, NULL, NULL};
  nebula_listen_options listen = {sizeof listen, 0, NULL, &tls};
  nebula_channel_options channel = {.size = sizeof channel, .tls = &tls};

  cr_assert_eq(nebula_server_listen(server, "tls://127.0.0.1:0", &listen, &error), NEBULA_E_TLS);
  cr_assert_not_null(strstr(error.message, f.none), "%s", error.message);
  cr_assert_null(nebula_channel_new(engine, "tls://localhost:1", &channel, &error));
  cr_assert_eq(error.code, NEBULA_E_TLS);
  cr_assert_null(nebula_channel_new(engine, "nebula:", &channel, &error));
  cr_assert_eq(error.code, NEBULA_E_TLS);
  cr_assert_null(nebula_channel_new(engine, "tls://localhost:1?ca=/none", NULL, &error));
  cr_assert_eq(error.code, NEBULA_E_TLS);
  cr_assert_eq(nebula_server_listen(server, "tls://127.0.0.1:0", NULL, &error), NEBULA_E_TLS);  /* no certificate */

  tls.certificate = f.certificate;
  cr_assert_eq(nebula_server_listen(server, "tcp://127.0.0.1:0", &listen, &error), NEBULA_E_ARGUMENT);
  cr_assert_eq(nebula_server_listen(server, NULL, &listen, &error), NEBULA_E_ARGUMENT);
  cr_assert_null(nebula_channel_new(engine, "tcp://localhost:1", &channel, &error));
  cr_assert_eq(error.code, NEBULA_E_ARGUMENT);
  tls.flags = 1;
  cr_assert_eq(nebula_server_listen(server, "tls://127.0.0.1:0", &listen, &error), NEBULA_E_ARGUMENT);
  tls.flags = 0;
  tls.size = 2;
  cr_assert_eq(nebula_server_listen(server, "tls://127.0.0.1:0", &listen, &error), NEBULA_E_VERSION);
  tls.size = sizeof tls;
  cr_assert_eq(nebula_server_listen(server, "tls://127.0.0.1:0", &listen, &error), 0, "%s", error.message);
  nebula_server_free(server);
  nebula_engine_free(engine);
  remove_files(&f);
}

/* bench/speed/uv_peer.c - 100 bytes there and back over libuv alone: the ceiling of any transport on it.
 *
 * usage: uv_peer serve                                   prints its port; until it is killed
 *        uv_peer load <port> <in flight> <seconds>       prints one line of JSON
 *
 * Whatever has arrived is answered in one write, so messages are batched as far as they can be. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <uv.h>

enum { MESSAGE = 100 };

static char room[1 << 16];
static uint64_t received, began, warm, end, count;

static void on_alloc(uv_handle_t *handle, size_t size, uv_buf_t *out) {
  (void)handle, (void)size;
  *out = uv_buf_init(room, sizeof room);
}

static void on_written(uv_write_t *write, int status) {
  (void)status;
  free(write);
}

static void send_bytes(uv_stream_t *stream, const char *data, size_t size) {
  uv_buf_t buffer = uv_buf_init((char *)data, (unsigned)size);
  int sent = uv_try_write(stream, &buffer, 1);
  if (sent < 0) sent = 0;
  if ((size_t)sent == size) return;
  uv_write_t *write = malloc(sizeof *write + size - (size_t)sent);
  memcpy(write + 1, data + sent, size - (size_t)sent);
  buffer = uv_buf_init((char *)(write + 1), (unsigned)(size - (size_t)sent));
  uv_write(write, stream, &buffer, 1, on_written);
}

static void on_closed(uv_handle_t *handle) { free(handle); }

static void echo(uv_stream_t *stream, ssize_t size, const uv_buf_t *buffer) {
  if (size < 0)
    uv_close((uv_handle_t *)stream, on_closed);
  else
    send_bytes(stream, buffer->base, (size_t)size);
}

static void on_connection(uv_stream_t *listener, int status) {
  uv_tcp_t *tcp = malloc(sizeof *tcp);
  uv_tcp_init(listener->loop, tcp);
  if (status != 0 || uv_accept(listener, (uv_stream_t *)tcp) != 0) exit(1);
  uv_tcp_nodelay(tcp, 1);
  uv_read_start((uv_stream_t *)tcp, on_alloc, echo);
}

static int serve(uv_loop_t *loop) {
  static uv_tcp_t listener;
  struct sockaddr_in address;
  int length = sizeof address;
  uv_ip4_addr("127.0.0.1", 0, &address);
  uv_tcp_init(loop, &listener);
  if (uv_tcp_bind(&listener, (struct sockaddr *)&address, 0) != 0) return 1;
  if (uv_listen((uv_stream_t *)&listener, 16, on_connection) != 0) return 1;
  uv_tcp_getsockname(&listener, (struct sockaddr *)&address, &length);
  printf("%d\n", ntohs(address.sin_port));
  fflush(stdout);
  return uv_run(loop, UV_RUN_DEFAULT);
}

/* For every whole message that has come back another one leaves. */
static void on_answers(uv_stream_t *stream, ssize_t size, const uv_buf_t *buffer) {
  if (size < 0) exit(1);
  (void)buffer;
  uint64_t whole = (received % MESSAGE + (uint64_t)size) / MESSAGE, now = uv_hrtime();
  received += (uint64_t)size;
  if (began == 0 && now >= warm) began = now, count = 0;
  count += whole;
  if (now < end) return send_bytes(stream, room, whole * MESSAGE);
  double took = (double)(now - began) / 1e9;
  printf("{\"count\": %llu, \"seconds\": %.4f}\n", (unsigned long long)count, took);
  fflush(stdout);
  exit(0);
}

static int in_flight;

static void on_connected(uv_connect_t *connect, int status) {
  if (status != 0) exit(1);
  uv_tcp_nodelay((uv_tcp_t *)connect->handle, 1);
  uv_read_start(connect->handle, on_alloc, on_answers);
  static char first[MESSAGE];
  for (int i = 0; i < in_flight; i++) send_bytes(connect->handle, first, MESSAGE);
}

static int load(uv_loop_t *loop, int port, double seconds) {
  static uv_tcp_t tcp;
  static uv_connect_t connect;
  struct sockaddr_in address;
  uv_ip4_addr("127.0.0.1", port, &address);
  uv_tcp_init(loop, &tcp);
  warm = uv_hrtime() + (uint64_t)(seconds * 0.1e9);
  end = warm + (uint64_t)(seconds * 1e9);
  uv_tcp_connect(&connect, &tcp, (struct sockaddr *)&address, on_connected);
  return uv_run(loop, UV_RUN_DEFAULT);
}

int main(int words, char **word) {
  uv_loop_t *loop = uv_default_loop();
  if (words == 2 && strcmp(word[1], "serve") == 0) return serve(loop);
  if (words == 5 && strcmp(word[1], "load") == 0) {
    in_flight = atoi(word[3]);
    return load(loop, atoi(word[2]), atof(word[4]));
  }
  fprintf(stderr, "usage: see the head of uv_peer.c\n");
  return 2;
}

// cpp/compress_test.cc - compression through nebula.hpp: the words of a limit that is exceeded tell what was compressed.
#include "kit.hpp"

namespace {

const Text large(5000, 'm');

nebula::ServerOptions server_options(uint32_t max_message, uint32_t compression) {
  nebula::ServerOptions options;
  options.wire.max_message = max_message;
  options.wire.compression = compression;
  return options;
}

nebula_channel_options channel_options(uint32_t max_message, uint32_t compression) {
  nebula_channel_options options{};
  options.max_message = max_message;
  options.compression = compression;
  return options;
}

template <class Work>
bool was_compressed(Work work) {
  nebula::Error error = error_of(work);
  cr_assert_eq(error.code(), NEBULA_RESOURCE_EXHAUSTED, "%s", error.what());
  return error.message().find("a compressed message") != Text::npos;
}

}  // namespace

Test(compress, is_of_requests_by_channel_by_call_and_by_message) {
  World w(server_options(1000, 0));
  nebula::Channel& plain = w.start();
  nebula::Channel gzip("mem:t", w.engine, channel_options(0, NEBULA_GZIP));
  cr_assert_not(was_compressed([&] { plain.call("/t.T/Echo", large); }));
  cr_assert(was_compressed([&] { plain.call("/t.T/Echo", large, nebula::CallOptions().zstd()); }));
  cr_assert(was_compressed([&] { gzip.call("/t.T/Echo", large); }));
  for (bool compress : {true, false}) {
    nebula::ClientStream<Text, Text> stream = gzip.client_stream("/t.T/Up");
    stream.write(large, compress);
    cr_assert_eq(was_compressed([&] { stream.finish(); }), compress);
  }
}

Test(compress, is_of_responses_by_server_and_by_handler) {
  World w(server_options(0, NEBULA_ZSTD));
  w.server->unary("/t.T/Plain", [](const Text& request, nebula::Context& context) {
    context.compress(false);
    return request;
  });
  cr_assert_eq(w.start().call("/t.T/Echo", large), large);
  nebula::Channel small("mem:t", w.engine, channel_options(1000, 0));
  cr_assert(was_compressed([&] { small.call("/t.T/Echo", large); }));
  cr_assert_not(was_compressed([&] { small.call("/t.T/Plain", large); }));
}

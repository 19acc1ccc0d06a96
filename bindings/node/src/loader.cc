// loader.cc - loads the engine so that it finds its own libraries first.
//
// Node exports the libuv, nghttp2, OpenSSL and zlib that are linked into it, and a library that is loaded the ordinary
// way binds to those before its own. RTLD_DEEPBIND turns that round, for the engine and all that it needs. The addon is
// loaded after this and finds the engine there; its own libuv is Node's, as it has to be.
#include <dlfcn.h>
#include <node_api.h>

NAPI_MODULE_INIT() {
  if (!dlopen("libnebula.so.1", RTLD_NOW | RTLD_DEEPBIND)) napi_throw_error(env, "ERR_DLOPEN_FAILED", dlerror());
  return exports;
}

// bindings/cpp/nebula.hpp - Nebula for C++: header-only, over the C ABI (nebula.h) and the standard library alone.
//
// C++17, which is what today's compilers speak without a flag; nebula_coro.hpp adds co_await for C++20.
// A failure is a nebula::Error, which is thrown. Exceptions stay on this side of the border: the engine knows none.
//
// Threads. An Engine has one thread: it does the I/O, and it runs callbacks and the handlers of Server::async, which
// must therefore not block. All other handlers run on threads of their Server, as many as there are calls at work (at
// most ServerOptions::threads_max), and may block. Whatever blocks (Channel::call, Future::get, read, write, finish)
// does so on the thread that asked; on the engine's thread it would wait for itself, and throws FAILED_PRECONDITION.
#ifndef NEBULA_HPP
#define NEBULA_HPP

#include "nebula/channel.hpp"
#include "nebula/server.hpp"

#endif

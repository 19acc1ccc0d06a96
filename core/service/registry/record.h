// service/registry/record.h - Record: one announced instance, as it stands in a file of the host registry.
//
//   nebula: 1                        version; newer ones are left alone
//   service: shop.Cart
//   instance: 7f3a9c01
//   url: unix:/run/user/1000/nebula/default/7f3a9c01.sock
//   url: tcp://127.0.0.1:40213
//   weight: 1
//   draining: 1                      it finishes what it has, and takes no new calls; absent: it takes them
//   health: not_serving              it says so itself, and takes no calls; absent: it serves
//   zone: eu-1                       where it is; absent: nobody has said
//   group: canary                    it belongs to; likewise
//   version: 2.1                     of the program; likewise
//   label: tier=gold                 what else it says of itself, a line for each
//   started: 1763786400              when it did, in seconds since 1970
//   description: 9f86d081884c7d65    digest of the service's methods and messages; absent: it does not say what they are
//   alive: 90d2c1f4a5b6e7f8.alive    the file whose lock tells of the whole process; absent: this file's own lock does
//   pid: 4711                        for people; numbers mean nothing in another container
//
// Not JSON: both ends are ours, core has no JSON parser, and lines of "name: value" are read by eye and by shell as well.
// Read tolerantly: names that are not known are passed over, so that newer writers may add some.
#pragma once

#include <string>
#include <string_view>

#include "service/registry/registry.h"

namespace nebula {

struct Record {
  std::string service;
  Endpoint endpoint;
  std::string alive;  // a file's name, or empty

  static Result<Record> parse(std::string_view text);
  std::string text() const;
  Result<std::string> checked_text() const;  // invalid_argument if it would be read otherwise, or is too long
  std::string file_name() const;  // "<service>.<instance>.record": ids have no dots, names of services may
};

inline constexpr std::string_view record_suffix = ".record";
inline constexpr std::string_view alive_suffix = ".alive";
inline constexpr std::string_view socket_suffix = ".sock";
inline constexpr std::string_view policy_suffix = ".policy";

// ok, or what is wrong with it: [A-Za-z0-9_-], 1 to 32 of them.
Status check_instance_id(std::string_view id);

}  // namespace nebula

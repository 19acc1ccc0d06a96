// bindings/cpp/nebula/error.hpp - metadata, and how a call fails.
#ifndef NEBULA_CPP_ERROR_HPP
#define NEBULA_CPP_ERROR_HPP

#include <nebula.h>

#include <cstring>
#include <exception>
#include <initializer_list>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace nebula {
// Inline, so nobody writes it; and not the engine's own names, should a program have both in it (libnebula.a).
inline namespace v1 {

// Names and values in the order in which they travel; a name may occur several times. The values of names that end in
// "-bin" are any bytes, all others printable ASCII.
class Metadata {
 public:
  using Field = std::pair<std::string, std::string>;

  Metadata() = default;
  Metadata(std::initializer_list<Field> fields) : fields_(fields) {}

  void add(std::string name, std::string value) { fields_.emplace_back(std::move(name), std::move(value)); }

  // The first value of that name; null: there is none.
  const std::string* find(std::string_view name) const {
    for (const Field& field : fields_)
      if (field.first == name) return &field.second;
    return nullptr;
  }

  bool empty() const { return fields_.empty(); }
  size_t size() const { return fields_.size(); }
  auto begin() const { return fields_.begin(); }
  auto end() const { return fields_.end(); }

  // The flat block of the ABI: { u32 name size, u32 value size, name, value }...
  static Metadata unpack(const uint8_t* block, uint32_t size) {
    Metadata metadata;
    const char* at = reinterpret_cast<const char*>(block);
    for (const char* end = at + size; at < end;) {
      uint32_t sizes[2];
      std::memcpy(sizes, at, sizeof sizes);
      at += sizeof sizes;
      metadata.add({at, sizes[0]}, {at + sizes[0], sizes[1]});
      at += size_t{sizes[0]} + sizes[1];
    }
    return metadata;
  }

  std::string pack() const {
    std::string block;
    for (const auto& [name, value] : fields_) {
      uint32_t sizes[2] = {static_cast<uint32_t>(name.size()), static_cast<uint32_t>(value.size())};
      block.append(reinterpret_cast<const char*>(sizes), sizeof sizes).append(name).append(value);
    }
    return block;
  }

 private:
  std::vector<Field> fields_;
};

// Where the request of a failed call got to, for whoever wants to repeat it.
enum class Fate { unsent = NEBULA_FATE_UNSENT, unprocessed = NEBULA_FATE_UNPROCESSED, unknown = NEBULA_FATE_UNKNOWN,
                  processed = NEBULA_FATE_PROCESSED };
enum class Fault { none = NEBULA_FAULT_NONE, caller = NEBULA_FAULT_CALLER, network = NEBULA_FAULT_NETWORK,
                   callee = NEBULA_FAULT_CALLEE, overload = NEBULA_FAULT_OVERLOAD };

// How a call failed; and what a handler throws to make it fail.
class Error : public std::exception {
 public:
  // code: NEBULA_CANCELLED to NEBULA_UNAUTHENTICATED; anything else becomes NEBULA_UNKNOWN.
  Error(int32_t code, std::string message, Metadata trailers = {}, Fate fate = Fate::unsent, Fault fault = Fault::none)
      : code_(code >= 1 && code <= 16 ? code : NEBULA_UNKNOWN), message_(std::move(message)),
        trailers_(std::move(trailers)), fate_(fate), fault_(fault) {
    std::string_view name = nebula_strerror(code_);
    what_ = std::string(name.substr(0, name.find(':'))) + ": " + message_;
  }

  int32_t code() const noexcept { return code_; }
  const std::string& message() const noexcept { return message_; }
  const Metadata& trailers() const noexcept { return trailers_; }
  Fate fate() const noexcept { return fate_; }
  Fault fault() const noexcept { return fault_; }
  const char* what() const noexcept override { return what_.c_str(); }  // "NOT_FOUND: no such cart"

 private:
  int32_t code_;
  std::string message_, what_;
  Metadata trailers_;
  Fate fate_;
  Fault fault_;
};

namespace detail {

// A refusal of the engine itself (NEBULA_E_...), as the code that says the same.
inline Error refusal(const nebula_error& error) {
  bool is_caller = error.code == NEBULA_E_ARGUMENT || error.code == NEBULA_E_ADDRESS || error.code == NEBULA_E_VERSION;
  bool is_state = error.code == NEBULA_E_STATE || error.code == NEBULA_E_FORKED;
  return Error(is_caller ? NEBULA_INVALID_ARGUMENT : is_state ? NEBULA_FAILED_PRECONDITION : NEBULA_UNAVAILABLE,
               error.message, {}, Fate::unsent, is_caller || is_state ? Fault::caller : Fault::network);
}

inline void check(int32_t result) {
  if (result >= 0) return;
  nebula_error error{result, 0, {}};
  std::strncpy(error.message, nebula_strerror(result), sizeof error.message - 1);
  throw refusal(error);
}

}  // namespace detail
}  // namespace v1
}  // namespace nebula

#endif

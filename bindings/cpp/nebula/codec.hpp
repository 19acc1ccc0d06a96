// bindings/cpp/nebula/codec.hpp - messages as bytes: strings, vectors of bytes, and what protobuf generates.
//
// protobuf is recognised by its two functions and never included, so that any type that has them is a message.
#ifndef NEBULA_CPP_CODEC_HPP
#define NEBULA_CPP_CODEC_HPP

#include <type_traits>

#include "error.hpp"

namespace nebula::v1::detail {

using ByteVector = std::vector<uint8_t>;

template <class T, class = void>
struct IsProtobuf : std::false_type {};
template <class T>
struct IsProtobuf<T, std::void_t<decltype(std::declval<const T&>().SerializeAsString()),
                                 decltype(std::declval<T&>().ParseFromString(std::string()))>> : std::true_type {};

// A view of `message` where it is bytes already, else a string of its own.
template <class T>
auto encode(const T& message) {
  if constexpr (std::is_convertible_v<const T&, std::string_view>) {
    return std::string_view(message);
  } else if constexpr (std::is_same_v<T, ByteVector>) {
    return std::string_view(reinterpret_cast<const char*>(message.data()), message.size());
  } else {
    static_assert(IsProtobuf<T>::value, "a message is a string, std::vector<uint8_t>, or has SerializeAsString");
    return message.SerializeAsString();
  }
}

// Throws Error with that code where the bytes are no T.
template <class T>
T decode(std::string&& bytes, int32_t code) {
  if constexpr (std::is_same_v<T, std::string>) {
    return std::move(bytes);
  } else if constexpr (std::is_same_v<T, ByteVector>) {
    return T(bytes.begin(), bytes.end());
  } else {
    static_assert(IsProtobuf<T>::value, "a message is std::string, std::vector<uint8_t>, or has ParseFromString");
    T message;
    if (!message.ParseFromString(bytes)) throw Error(code, "a message of " + std::to_string(bytes.size()) +
                                                               " bytes is not of the type that this method has");
    return message;
  }
}

}  // namespace nebula::v1::detail

#endif

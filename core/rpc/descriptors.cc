// rpc/descriptors.cc - goes through each file once and notes what it defines.
#include "rpc/descriptors.h"

#include <memory>
#include <set>

#include "base/assert.h"
#include "nebula/descriptor.pb-c.h"

// Made of their .proto files by the build: a FileDescriptorSet.
extern "C" const unsigned nebula_own_files_size;
extern "C" const unsigned char nebula_own_files[];

namespace nebula {

namespace {

// A protobuf-c message that frees itself.
template <class T, void (*release)(T*, ProtobufCAllocator*)>
struct Release {
  void operator()(T* message) const { release(message, nullptr); }
};
using FileSet = std::unique_ptr<Nebula__Descriptor__FileSet,
                                Release<Nebula__Descriptor__FileSet, nebula__descriptor__file_set__free_unpacked>>;
using ParsedFile =
    std::unique_ptr<Nebula__Descriptor__File, Release<Nebula__Descriptor__File, nebula__descriptor__file__free_unpacked>>;

std::string_view text(const char* name) { return name == nullptr ? std::string_view() : name; }

std::string joined(std::string_view scope, const char* name) {
  return scope.empty() ? std::string(text(name)) : std::string(scope).append(".").append(text(name));
}

}  // namespace

// Notes what one file defines.
class Descriptors::Indexer {
 public:
  Indexer(Descriptors& all, std::string_view file) : all_(all), file_(file) {}

  void add(const Nebula__Descriptor__File& file) {
    std::string_view scope = text(file.package);
    for (size_t i = 0; i < file.n_message_type; i++) add_message(scope, *file.message_type[i]);
    for (size_t i = 0; i < file.n_enum_type; i++) add_enum(scope, *file.enum_type[i]);
    for (size_t i = 0; i < file.n_extension; i++) add_extension(scope, *file.extension[i]);
    for (size_t i = 0; i < file.n_service; i++) {
      std::string service = joined(scope, file.service[i]->name);
      for (size_t j = 0; j < file.service[i]->n_method; j++) add_symbol(joined(service, file.service[i]->method[j]->name));
      add_symbol(std::move(service));
    }
  }

 private:
  void add_symbol(std::string name) { all_.symbols_.emplace(std::move(name), file_); }

  void add_message(std::string_view scope, const Nebula__Descriptor__Message& message) {
    std::string name = joined(scope, message.name);
    for (size_t i = 0; i < message.n_field; i++) add_symbol(joined(name, message.field[i]->name));
    for (size_t i = 0; i < message.n_oneof_decl; i++) add_symbol(joined(name, message.oneof_decl[i]->name));
    for (size_t i = 0; i < message.n_nested_type; i++) add_message(name, *message.nested_type[i]);
    for (size_t i = 0; i < message.n_enum_type; i++) add_enum(name, *message.enum_type[i]);
    for (size_t i = 0; i < message.n_extension; i++) add_extension(name, *message.extension[i]);
    add_symbol(std::move(name));
  }

  void add_enum(std::string_view scope, const Nebula__Descriptor__Enum& type) {
    // Values are siblings of their enum, as in C++.
    for (size_t i = 0; i < type.n_value; i++) add_symbol(joined(scope, type.value[i]->name));
    add_symbol(joined(scope, type.name));
  }

  void add_extension(std::string_view scope, const Nebula__Descriptor__Field& field) {
    add_symbol(joined(scope, field.name));
    std::string_view type = text(field.extendee);
    if (type.starts_with('.')) type.remove_prefix(1);
    all_.extensions_[std::string(type)].emplace(field.number, file_);
  }

  Descriptors& all_;
  const std::string file_;
};

Status Descriptors::add(std::string_view set) {
  FileSet files(nebula__descriptor__file_set__unpack(nullptr, set.size(), reinterpret_cast<const uint8_t*>(set.data())));
  if (files == nullptr) return invalid_argument("this is no FileDescriptorSet");
  std::vector<ParsedFile> parsed;
  for (size_t i = 0; i < files->n_file; i++) {
    parsed.emplace_back(nebula__descriptor__file__unpack(nullptr, files->file[i].len, files->file[i].data));
    if (parsed.back() == nullptr || text(parsed.back()->name).empty())
      return invalid_argument("file " + std::to_string(i) + " of the FileDescriptorSet is malformed");
  }
  for (size_t i = 0; i < parsed.size(); i++) {
    const Nebula__Descriptor__File& file = *parsed[i];
    File added;
    added.bytes = Bytes::copy({reinterpret_cast<const char*>(files->file[i].data), files->file[i].len});
    for (size_t j = 0; j < file.n_dependency; j++) added.imports.emplace_back(file.dependency[j]);
    if (files_.emplace(file.name, std::move(added)).second) Indexer(*this, file.name).add(file);
  }
  return {};
}

void Descriptors::add_own() {
  Status status = add({reinterpret_cast<const char*>(nebula_own_files), nebula_own_files_size});
  NEBULA_ASSERT(status.ok());
}

std::vector<Bytes> Descriptors::by_name(std::string_view file) const {
  std::vector<Bytes> found;
  std::set<std::string_view> seen = {file};
  std::vector<std::string_view> open = {file};
  while (!open.empty()) {
    auto each = files_.find(open.back());
    open.pop_back();
    if (each == files_.end()) continue;  // an import that nobody handed over; the client may know it
    found.push_back(each->second.bytes);
    for (const std::string& import : each->second.imports)
      if (seen.insert(import).second) open.push_back(import);
  }
  return found;
}

std::vector<Bytes> Descriptors::by_symbol(std::string_view name) const {
  auto found = symbols_.find(name);
  return found == symbols_.end() ? std::vector<Bytes>() : by_name(found->second);
}

std::vector<Bytes> Descriptors::by_extension(std::string_view type, int32_t number) const {
  auto known = extensions_.find(type);
  if (known == extensions_.end()) return {};
  auto found = known->second.find(number);
  return found == known->second.end() ? std::vector<Bytes>() : by_name(found->second);
}

std::vector<int32_t> Descriptors::extensions_of(std::string_view type) const {
  std::vector<int32_t> numbers;
  auto known = extensions_.find(type);
  if (known == extensions_.end()) return numbers;
  for (const auto& [number, file] : known->second) numbers.push_back(number);
  return numbers;
}

}  // namespace nebula

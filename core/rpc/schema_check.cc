// rpc/schema_check.cc - a message beside its rule: what is wrong, and where.
#include <simdjson.h>

#include <algorithm>
#include <cmath>
#include <optional>

#include "base/limits.h"
#include "base/similar.h"
#include "rpc/schema.h"
#include "rpc/schema_rules.h"

namespace nebula {

namespace {

using simdjson::dom::array;
using simdjson::dom::element;
using simdjson::dom::element_type;
using simdjson::dom::object;

// What is wrong, seen from where `path` begins. is_kind: the value is of another kind altogether, rather than wrong inside.
struct Mismatch {
  std::string text;
  std::string path = {};
  bool is_kind = false;
};
using Verdict = std::optional<Mismatch>;

Mismatch inside(std::string_view name, Mismatch inner) {
  bool is_joined = inner.path.empty() || inner.path.starts_with('[');
  inner.path = std::string(name).append(is_joined ? "" : ".").append(inner.path);
  inner.is_kind = false;
  return inner;
}

Mismatch inside(size_t index, Mismatch inner) { return inside("[" + std::to_string(index) + "]", std::move(inner)); }

const SchemaRule* resolved(const SchemaRule* rule) {
  static const SchemaRule any;
  // Definitions that are but names for each other lead nowhere.
  for (int hops = 0; rule != nullptr && rule->same != nullptr; hops++) rule = hops < 16 ? rule->same : nullptr;
  return rule != nullptr ? rule : &any;
}

// ---- the words

constexpr size_t shown_bytes_max = 60;

// A value for a message: as JSON, and short.
std::string shown(const element& value) {
  std::string text = simdjson::minify(value);
  if (text.size() <= shown_bytes_max) return text;
  size_t end = shown_bytes_max - 3;
  while (end > 0 && (static_cast<unsigned char>(text[end]) & 0xc0) == 0x80) end--;  // not inside a character
  return text.substr(0, end) + "...";
}

std::string in_quotes(std::string_view name) { return "\"" + std::string(name) + "\""; }

std::string joined(const std::vector<std::string>& parts, std::string_view between) {
  std::string text;
  for (const std::string& each : parts) text.append(text.empty() ? "" : between).append(each);
  return text;
}

// "an integer or null".
std::string what(const SchemaRule* unresolved, int depth = 0) {
  const SchemaRule& rule = *resolved(unresolved);
  if (!rule.choices.empty()) return joined(rule.choices, " or ");
  std::vector<std::string> parts;
  auto add = [&parts](std::string part) {
    if (std::find(parts.begin(), parts.end(), part) == parts.end()) parts.push_back(std::move(part));
  };
  if (!rule.options.empty() && depth < 8) {
    for (const SchemaRule* option : rule.options) add(what(option, depth + 1));
    return joined(parts, " or ");
  }
  if (rule.kinds == kind_any) return "anything";
  bool is_number = (rule.kinds & kind_number) != 0;
  bool is_text = (rule.kinds & kind_string) != 0 && (rule.form == TextForm::any || rule.form == TextForm::base64);
  if (rule.kinds & kind_integer) add(is_number ? "a number" : "an integer");
  if (is_text) add(rule.form == TextForm::base64 ? "base64" : "a string");
  if (rule.kinds & kind_boolean) add("a boolean");
  if (rule.kinds & kind_list) add("a list");
  if (rule.kinds & kind_object) add("an object");
  if ((rule.kinds & kind_null) != 0 && parts.empty()) add("null");
  return parts.empty() ? "left out" : joined(parts, " or ");
}

// Whether a string, or a number, of these rules may be wrong although it is one.
bool may_be_wrong(const SchemaRule* unresolved, bool is_string, int depth = 0) {
  const SchemaRule& rule = *resolved(unresolved);
  if (!rule.choices.empty()) return true;
  if (depth < 8)
    for (const SchemaRule* option : rule.options)
      if (may_be_wrong(option, is_string, depth + 1)) return true;
  return is_string ? (rule.kinds & kind_string) != 0 && rule.form != TextForm::any
                   : rule.kinds != kind_any && (rule.kinds & kind_integer) != 0;
}

// A value of the wrong kind is said to be of its kind alone: it may be what nobody should read in a log.
std::string given(const element& value, const SchemaRule* rule) {
  switch (value.type()) {
    case element_type::ARRAY: return "a list";
    case element_type::OBJECT: return "an object";
    case element_type::BOOL: return "a boolean";
    case element_type::NULL_VALUE: return "null";
    case element_type::STRING: return may_be_wrong(rule, true) ? shown(value) : "a string";
    default: return may_be_wrong(rule, false) ? shown(value) : "a number";
  }
}

Mismatch wrong_kind(const element& value, const SchemaRule* rule) {
  return {"must be " + what(rule) + ", not " + given(value, rule), {}, true};
}

Mismatch unknown_field(std::string_view name, const SchemaRule& rule) {
  std::vector<std::string> fields;
  for (const SchemaRule::Field& each : rule.fields)
    if (!each.is_alias) fields.push_back(each.name);
  return {"has no field " + in_quotes(name) + " (fields: " + (fields.empty() ? "none" : joined(fields, ", ")) + ")" +
          did_you_mean(similar_names(name, fields))};
}

// ---- text that stands for something else

// Both alphabets, padded or not.
bool is_base64(std::string_view text) {
  size_t padding = 0;
  while (text.ends_with('=') && padding++ < 2) text.remove_suffix(1);
  auto is_digit = [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '+' || c == '/' ||
           c == '-' || c == '_';
  };
  return text.size() % 4 != 1 && std::all_of(text.begin(), text.end(), is_digit);
}

// A number as JSON has it, or, of proto3's mapping, one of the three that JSON has not.
bool is_number(std::string_view text, bool is_integer) {
  if (!is_integer && (text == "NaN" || text == "Infinity" || text == "-Infinity")) return true;
  auto digits = [&text] {
    size_t count = 0;
    while (count < text.size() && text[count] >= '0' && text[count] <= '9') count++;
    text.remove_prefix(count);
    return count > 0;
  };
  if (text.starts_with('-')) text.remove_prefix(1);
  if (!digits()) return false;
  if (text.starts_with('.')) {
    text.remove_prefix(1);
    if (!digits()) return false;
  }
  if (text.starts_with('e') || text.starts_with('E')) {
    text.remove_prefix(1);
    if (text.starts_with('-') || text.starts_with('+')) text.remove_prefix(1);
    if (!digits()) return false;
  }
  return text.empty();
}

bool has_form(std::string_view text, TextForm form) {
  switch (form) {
    case TextForm::base64: return is_base64(text);
    case TextForm::integer: return is_number(text, true);
    case TextForm::number: return is_number(text, false);
    default: return true;
  }
}

bool is_same_but_for_case(std::string_view a, std::string_view b) {
  auto lower = [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; };
  return a.size() == b.size() &&
         std::equal(a.begin(), a.end(), b.begin(), [&lower](char x, char y) { return lower(x) == lower(y); });
}

// ---- the check

class Checker {
 public:
  explicit Checker(size_t message_bytes) : steps_left_(limits::check_steps_min + message_bytes * limits::check_steps_a_byte) {}

  // Nothing wrong, or nothing to be said.
  Verdict check(const element& value, const SchemaRule* unresolved, size_t depth) {
    if (steps_left_ == 0 || depth > 2 * schema_depth_max) return {};
    steps_left_--;
    const SchemaRule& rule = *resolved(unresolved);
    if (!rule.choices.empty()) {
      bool is_known = std::find(rule.choices.begin(), rule.choices.end(), simdjson::minify(value)) != rule.choices.end();
      return is_known ? Verdict() : wrong_kind(value, &rule);
    }
    if (!is_of_kind(value, rule)) return wrong_kind(value, &rule);
    if (!rule.options.empty()) return check_options(value, rule, depth);
    if (value.type() == element_type::ARRAY && rule.item != nullptr) return check_list(value, rule, depth);
    if (value.type() == element_type::OBJECT) return check_object(value, rule, depth);
    return {};
  }

 private:
  static bool is_of_kind(const element& value, const SchemaRule& rule) {
    switch (value.type()) {
      case element_type::ARRAY: return rule.kinds & kind_list;
      case element_type::OBJECT: return rule.kinds & kind_object;
      case element_type::BOOL: return rule.kinds & kind_boolean;
      case element_type::NULL_VALUE: return rule.kinds & kind_null;
      case element_type::STRING: {
        if ((rule.kinds & kind_string) == 0) return false;
        std::string_view text;
        return rule.form == TextForm::any || (value.get(text) == simdjson::SUCCESS && has_form(text, rule.form));
      }
      case element_type::DOUBLE: {
        if (rule.kinds & kind_number) return true;
        // Languages with one kind of number may write 3 as 3.0.
        double number = 0;
        return (rule.kinds & kind_integer) != 0 && value.get(number) == simdjson::SUCCESS &&
               number == std::floor(number);
      }
      default: return rule.kinds & (kind_integer | kind_number);
    }
  }

  // Of one that may be null one wants to hear what is wrong inside.
  Verdict check_options(const element& value, const SchemaRule& rule, size_t depth) {
    Verdict nested;
    size_t others = 0;
    for (const SchemaRule* option : rule.options) {
      Verdict verdict = check(value, option, depth + 1);
      if (!verdict) return {};
      if (resolved(option)->kinds == kind_null) continue;
      others++;
      if (!verdict->is_kind) nested = std::move(verdict);
    }
    return others == 1 && nested ? nested : wrong_kind(value, &rule);
  }

  Verdict check_list(const element& value, const SchemaRule& rule, size_t depth) {
    array list;
    if (value.get(list) != simdjson::SUCCESS) return {};
    size_t index = 0;
    for (element each : list) {
      if (Verdict verdict = check(each, rule.item, depth + 1)) return inside(index, std::move(*verdict));
      index++;
    }
    return {};
  }

  Verdict check_object(const element& value, const SchemaRule& rule, size_t depth) {
    if (!rule.is_closed && rule.others == nullptr && rule.fields.empty() && rule.required.empty()) return {};
    object fields;
    if (value.get(fields) != simdjson::SUCCESS) return {};
    for (const auto& [name, field] : fields) {
      const SchemaRule::Field* known = find(rule, name);
      if (known == nullptr && rule.is_closed) return unknown_field(name, rule);
      const SchemaRule* wanted = known != nullptr ? known->rule : rule.others;
      if (wanted == nullptr) continue;
      if (Verdict verdict = check(field, wanted, depth + 1)) return inside(name, std::move(*verdict));
    }
    for (const std::string& name : rule.required)
      if (fields.at_key(name).error() != simdjson::SUCCESS) return Mismatch{"is missing", name};
    return {};
  }

  static const SchemaRule::Field* find(const SchemaRule& rule, std::string_view name) {
    auto found = std::lower_bound(rule.by_name.begin(), rule.by_name.end(), name,
                                  [&rule](uint32_t index, std::string_view wanted) { return rule.fields[index].name < wanted; });
    if (found != rule.by_name.end() && rule.fields[*found].name == name) return &rule.fields[*found];
    if (!rule.ignores_case) return nullptr;
    auto same = std::find_if(rule.fields.begin(), rule.fields.end(),
                             [name](const SchemaRule::Field& field) { return is_same_but_for_case(field.name, name); });
    return same == rule.fields.end() ? nullptr : &*same;
  }

  size_t steps_left_;
};

std::string sentence(const std::string& label, const Mismatch& mismatch) {
  if (!mismatch.path.empty()) return label + ": field " + in_quotes(mismatch.path) + " " + mismatch.text;
  return mismatch.is_kind ? label + ": the message " + mismatch.text : label + " " + mismatch.text;
}

// Readers of JSON differ in these: numbers beyond 64 bits, halves of surrogates, depth.
bool is_for_the_server(simdjson::error_code error) {
  switch (error) {
    case simdjson::NUMBER_ERROR:
    case simdjson::NUMBER_OUT_OF_RANGE:
    case simdjson::STRING_ERROR:
    case simdjson::DEPTH_ERROR:
    case simdjson::CAPACITY:
    case simdjson::MEMALLOC: return true;
    default: return false;
  }
}

}  // namespace

Status Schema::check(std::string_view method, std::string_view json) {
  const SchemaRule* rule = find(method);
  if (rule == nullptr) return check_method(method);
  if (json.empty()) return {};  // no JSON, but some servers take it for no fields
  // A large message does not leave its room behind.
  simdjson::dom::parser large;
  bool is_small = json.size() <= limits::check_memory_max;
  if (is_small && tables_->parser == nullptr) tables_->parser = std::make_unique<simdjson::dom::parser>();
  simdjson::dom::parser& parser = is_small ? *tables_->parser : large;
  simdjson::error_code error = simdjson::SUCCESS;
  if (parser.capacity() == 0) error = parser.allocate(is_small ? 4096 : json.size(), schema_depth_max);
  element message;
  if (error == simdjson::SUCCESS) error = parser.parse(json.data(), json.size()).get(message);
  if (is_for_the_server(error)) return {};
  std::string label = service() + "." + std::string(method);
  if (error != simdjson::SUCCESS)
    return invalid_argument(label + ": malformed JSON: " + simdjson::error_message(error));
  Verdict verdict = Checker(json.size()).check(message, rule, 0);
  return verdict ? invalid_argument(sentence(label, *verdict)) : Status();
}

}  // namespace nebula

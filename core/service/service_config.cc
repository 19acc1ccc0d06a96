// service/service_config.cc - JSON to words and to policies of methods; and the sentence where that does not work.
#include "service/service_config.h"

#include <simdjson.h>

#include <algorithm>
#include <charconv>
#include <cmath>

#include "base/similar.h"

namespace nebula {

namespace {

using simdjson::dom::array;
using simdjson::dom::element;
using simdjson::dom::object;

constexpr size_t depth_max = 64;
constexpr uint64_t seconds_max = 1'000'000'000;  // more is as good as that, and would not fit
constexpr std::string_view balancers_known =
    "round_robin, pick_first, weighted_round_robin, least_request_experimental, ring_hash_experimental, "
    "outlier_detection_experimental";

std::vector<std::string> split(std::string_view names) {
  std::vector<std::string> parts;
  for (size_t end; !names.empty(); names.remove_prefix(std::min(end + 2, names.size()))) {
    end = std::min(names.find(", "), names.size());
    parts.emplace_back(names.substr(0, end));
  }
  return parts;
}

std::string unknown(std::string_view name, const std::string& known) {
  std::string near = did_you_mean(similar_names(name, split(known)));
  std::string text = "there is no \"" + std::string(name) + "\"" + near;
  return text + (known.empty() ? "; it has no fields" : (near.empty() ? "; there are: " : " There are: ") + known);
}

std::string lower(std::string_view text) {
  std::string out(text);
  for (char& c : out) c = c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
  return out;
}

// "1.5s", as protobuf's JSON has it.
std::optional<Duration> parse_seconds(std::string_view text) {
  if (!text.ends_with('s')) return std::nullopt;
  text.remove_suffix(1);
  const char* end = text.data() + text.size();
  uint64_t whole = 0;
  auto [at, error] = std::from_chars(text.data(), end, whole);
  if (error != std::errc()) return std::nullopt;
  int64_t ns = 0;
  if (at != end) {
    if (*at++ != '.' || at == end || end - at > 9) return std::nullopt;
    for (int64_t unit = 100'000'000; at != end; at++, unit /= 10) {
      if (*at < '0' || *at > '9') return std::nullopt;
      ns += (*at - '0') * unit;
    }
  }
  return whole >= seconds_max ? sec(seconds_max) : sec(static_cast<int64_t>(whole)) + nanos(ns);
}

// As the option of a URL, where nothing is shorter than a microsecond.
std::string text_of(Duration length) { return std::to_string((length.ns + 999) / 1000) + "us"; }

// The fields of one object, each of its kind. The first mistake counts, of all objects that share `failure`.
class Fields {
 public:
  Fields(const element* from, std::string where, Status& failure) : where_(std::move(where)), failure_(failure) {
    has_any_ = from != nullptr && from->get(object_) == simdjson::SUCCESS;
    if (from != nullptr && !has_any_) fail(where_ + " is an object, {...}");
  }

  // Nothing where it is not there, or null, which is the same to protobuf; or where it is wrong.
  std::optional<element> any(std::string_view name) {
    known_.append(known_.empty() ? "" : ", ").append(name);
    element value;
    if (!has_any_ || object_.at_key(name).get(value) != simdjson::SUCCESS || value.is_null()) return std::nullopt;
    return value;
  }
  std::optional<std::string_view> text(std::string_view name) { return as<std::string_view>(name, "text"); }
  std::optional<bool> flag(std::string_view name) { return as<bool>(name, "true or false"); }
  std::optional<array> list(std::string_view name) { return as<array>(name, "a list, [...]"); }

  std::optional<double> number(std::string_view name, double least, double most, std::string_view what) {
    std::optional<double> value = as<double>(name, what);
    if (!value || (*value >= least && *value <= most)) return value;
    refuse(name, what);
    return std::nullopt;
  }

  std::optional<uint32_t> count(std::string_view name, uint32_t least = 0, uint32_t most = UINT32_MAX) {
    std::string what = "a whole number from " + std::to_string(least) + " to " + std::to_string(most);
    std::optional<double> value = number(name, least, most, what);
    if (value && *value != std::floor(*value)) refuse(name, what);
    return value ? std::optional(static_cast<uint32_t>(*value)) : std::nullopt;
  }

  std::optional<Duration> duration(std::string_view name) {
    std::string_view what = "a time in seconds, as \"1.5s\"";
    std::optional<std::string_view> text = as<std::string_view>(name, what);
    std::optional<Duration> value = text ? parse_seconds(*text) : std::nullopt;
    if (text && !value) refuse(name, what);
    return value;
  }

  void cannot(std::string_view name, std::string_view instead) {
    if (any(name)) refuse(name, "what Nebula cannot do; " + std::string(instead));
  }
  void need(bool is_there, std::string_view name, std::string_view what) {
    if (!is_there) refuse(name, "needed: " + std::string(what));
  }
  void refuse(std::string_view name, std::string_view what) { fail(path(name) + " is " + std::string(what)); }
  void fail(std::string text) {
    if (failure_.ok()) failure_ = invalid_argument(std::move(text));
  }
  std::string path(std::string_view name) const {
    return where_.empty() ? std::string(name) : where_ + "." + std::string(name);
  }
  const std::string& where() const { return where_; }

  // After all: a field that nobody has asked for is a mistake too.
  void end() {
    if (!has_any_) return;
    std::vector<std::string> known = split(known_);
    for (const auto& [name, value] : object_)
      if (std::find(known.begin(), known.end(), name) == known.end())
        return fail((where_.empty() ? "" : where_ + ": ") + unknown(name, known_));
  }

 private:
  template <class T>
  std::optional<T> as(std::string_view name, std::string_view what) {
    std::optional<element> found = any(name);
    T value;
    if (!found) return std::nullopt;
    if (found->get(value) == simdjson::SUCCESS) return value;
    refuse(name, what);
    return std::nullopt;
  }

  const std::string where_;
  Status& failure_;
  object object_;
  bool has_any_;
  std::string known_;
};

// ---- what is for the whole channel

class Reader {
 public:
  explicit Reader(ServiceConfig& config) : config_(config) {}

  Status read(const element& whole) {
    Fields fields(&whole, "", failure_);
    std::optional<array> balancers = fields.list("loadBalancingConfig");
    std::optional<std::string_view> old = fields.text("loadBalancingPolicy");
    if (balancers)
      read_balancers(*balancers, "loadBalancingConfig");
    else if (old && lower(*old) != "unspecified" && !read_balancer(lower(*old), nullptr, "loadBalancingPolicy"))
      fields.fail("loadBalancingPolicy: " + unknown(*old, std::string(balancers_known)));
    if (std::optional<array> methods = fields.list("methodConfig")) {
      size_t at = 0;
      for (const element& each : *methods) read_methods(each, "methodConfig[" + std::to_string(at++) + "]");
    }
    if (std::optional<element> throttle = fields.any("retryThrottling")) read_throttle(*throttle);
    if (std::optional<element> health = fields.any("healthCheckConfig")) read_health(*health);
    fields.cannot("connectionScaling", "where an instance takes no more calls on a connection it gets further ones, up to 10, by itself");
    fields.end();
    return std::move(failure_);
  }

 private:
  // Numbers in them are whole, with an exponent: how others are written depends on the locale.
  using UrlOptions = std::vector<std::pair<std::string, std::string>>;

  void add(std::string kind, std::string scheme, UrlOptions options = {}) {
    Url url;
    url.scheme = std::move(scheme);
    url.query = std::move(options);
    config_.words.emplace_back(std::move(kind), std::move(url));
  }

  // The first that there is, as gRPC does it (A24): the others are for other clients. But a name that only looks like
  // one that there is was meant to be it.
  void read_balancers(const array& list, const std::string& where) {
    std::string others;
    for (const element& each : list) {
      object entry;
      if (each.get(entry) != simdjson::SUCCESS || entry.size() != 1)
        return fail(where + " is a list of objects with one field each, as [{\"round_robin\": {}}]");
      simdjson::dom::key_value_pair first = *entry.begin();
      std::string name(first.key);
      if (read_balancer(name, &first.value, where + "." + name)) return;
      if (!similar_names(name, split(balancers_known)).empty())
        return fail(where + ": " + unknown(name, std::string(balancers_known)));
      others.append(others.empty() ? "" : ", ").append(name);
    }
    fail(where + (others.empty() ? " is empty" : ": there is no " + others) +
         "; there are: " + std::string(balancers_known));
  }

  // False: there is none of that name.
  bool read_balancer(std::string_view name, const element* from, const std::string& where) {
    Fields fields(from, where, failure_);
    if (name == "round_robin") {
      add("balancer", "round_robin");
    } else if (name == "pick_first") {
      add("balancer", "pick_first", {{"shuffle", fields.flag("shuffleAddressList").value_or(false) ? "1" : "0"}});
    } else if (name == "weighted_round_robin") {
      UrlOptions options;
      if (fields.flag("enableOobLoadReport").value_or(false))
        fields.refuse("enableOobLoadReport", "what Nebula cannot do; it takes the reports that come with answers");
      fields.duration("oobReportingPeriod");  // of what is off
      for (auto [name, option] : {std::pair("blackoutPeriod", "blackout"), {"weightExpirationPeriod", "expiry"},
                                  {"weightUpdatePeriod", "update"}})
        if (std::optional<Duration> length = fields.duration(name)) options.emplace_back(option, text_of(*length));
      if (std::optional<double> errors = fields.number("errorUtilizationPenalty", 0, 1e6, "a number that is not negative"))
        options.emplace_back("errors", std::to_string(std::lround(*errors * 1000)) + "e-3");
      add("balancer", "weighted", std::move(options));
    } else if (name == "least_request_experimental" || name == "least_request") {
      fields.cannot("choiceCount", "it looks at all instances");
      add("balancer", "least");
    } else if (name == "ring_hash_experimental" || name == "ring_hash") {
      for (std::string_view each : {"minRingSize", "maxRingSize"})
        fields.cannot(each, "its ring has 160 points for each instance");
      std::string key = lower(fields.text("requestHashHeader").value_or(""));
      fields.need(!key.empty(), "requestHashHeader", "the metadata that is the key, as \"x-user\"");
      add("balancer", "ring_hash", {{"key", key}});
    } else if (name == "outlier_detection_experimental" || name == "outlier_detection") {
      read_outliers(fields);
    } else {
      return false;
    }
    fields.end();
    return true;
  }

  // gRFC A17. Without a name nobody is asked; with an empty one, the server as a whole.
  void read_health(const element& from) {
    Fields fields(&from, "healthCheckConfig", failure_);
    if (std::optional<std::string_view> service = fields.text("serviceName"))
      add("health", "health", {{"service", std::string(*service)}});
    fields.end();
  }

  // gRFC A50. A rule that is not there, or is enforced in no case, is off.
  void read_outliers(Fields& fields) {
    for (const auto& [kind, url] : config_.words)
      if (kind == "ejection") return fields.fail(fields.where() + " is within another one already");
    Duration interval = fields.duration("interval").value_or(sec(10));
    Duration first = fields.duration("baseEjectionTime").value_or(sec(30));
    Duration most = fields.duration("maxEjectionTime").value_or(std::max(first, sec(300)));
    uint32_t percent = fields.count("maxEjectionPercent", 0, 100).value_or(10);
    if (interval < ms(10)) fields.refuse("interval", "0.01s or more");
    if (most < first) fields.refuse("maxEjectionTime", "no less than baseEjectionTime");
    UrlOptions options = {
        {"interval", text_of(interval)}, {"first", text_of(first)}, {"most", text_of(most)},
        {"share", std::to_string(percent) + "e-2"}};
    bool compares = read_outlier_rule(fields, by_deviations, &options);
    bool counts = read_outlier_rule(fields, by_failures, &options);
    if (compares || counts)
      add("ejection", "outliers", std::move(options));
    else
      add("ejection", "none");

    std::optional<array> children = fields.list("childPolicy");
    fields.need(children.has_value(), "childPolicy", "how instances are chosen, as [{\"round_robin\": {}}]");
    if (children) read_balancers(*children, fields.path("childPolicy"));
  }

  // How ours are called, and what makes them find nobody.
  struct OutlierRule {
    std::string_view name, bound;
    uint32_t bound_usual, bound_max, calls_usual;
    std::string_view option, unit, off, prefix;
  };
  static constexpr OutlierRule by_deviations = {
      "successRateEjection", "stdevFactor", 1900, 1'000'000'000, 100, "deviations", "e-3", "1000000", ""};
  static constexpr OutlierRule by_failures = {
      "failurePercentageEjection", "threshold", 85, 100, 50, "failures", "e-2", "1", "failures_"};

  // Whether it is used.
  bool read_outlier_rule(Fields& fields, const OutlierRule& rule, UrlOptions* options) {
    std::optional<element> from = fields.any(rule.name);
    Fields inner(from ? &*from : nullptr, fields.path(rule.name), failure_);
    uint32_t bound = std::min(inner.count(rule.bound).value_or(rule.bound_usual), rule.bound_max);
    uint32_t enforced = inner.count("enforcementPercentage", 0, 100).value_or(100);
    if (enforced % 100 != 0) inner.refuse("enforcementPercentage", "0 or 100: Nebula ejects all that it finds");
    // Of one instance there is nothing to compare, and the last one is never ejected.
    uint32_t nodes = std::clamp(inner.count("minimumHosts").value_or(5), 2u, 1'000'000u);
    uint32_t calls = std::clamp(inner.count("requestVolume").value_or(rule.calls_usual), 1u, 1'000'000u);
    inner.end();
    bool is_used = from && enforced == 100;
    options->emplace_back(rule.option, is_used ? std::to_string(bound).append(rule.unit) : std::string(rule.off));
    options->emplace_back(std::string(rule.prefix) + "nodes", std::to_string(nodes));
    options->emplace_back(std::string(rule.prefix) + "calls", std::to_string(calls));
    return is_used;
  }

  void read_throttle(const element& from) {
    Fields fields(&from, "retryThrottling", failure_);
    std::optional<uint32_t> tokens = fields.count("maxTokens", 1, limits::throttle_tokens);
    std::optional<double> ratio = fields.number("tokenRatio", 0.001, 1000, "a number from 0.001 to 1000");
    fields.need(tokens.has_value(), "maxTokens", "with half of so many gone there are no retries");
    fields.need(ratio.has_value(), "tokenRatio", "how much of a token a good call gives back, as 0.1");
    fields.end();
    std::string thousandths = std::to_string(std::lround(ratio.value_or(1) * 1000));
    add("throttle", "throttle", {{"tokens", std::to_string(tokens.value_or(1))}, {"ratio", thousandths + "e-3"}});
  }

  // ---- what is for methods

  void read_methods(const element& from, const std::string& where) {
    Fields fields(&from, where, failure_);
    MethodPolicy policy;
    policy.timeout = fields.duration("timeout");
    policy.wait_for_ready = fields.flag("waitForReady").value_or(false);
    if (std::optional<element> retry = fields.any("retryPolicy")) policy.retry = read_retry(*retry, where);
    fields.cannot("hedgingPolicy", "write retryPolicy");
    fields.cannot("maxRequestMessageBytes", "the server has such a limit");
    fields.cannot("maxResponseMessageBytes", "the options of a channel have one for all methods, max_message");
    std::optional<array> names = fields.list("name");
    fields.need(names && names->size() > 0, "name",
                "of which methods, as [{\"service\": \"shop.Price\", \"method\": \"Get\"}], or [{}] for all");
    if (names)
      for (const element& each : *names) {
        std::string key = read_name(each, fields.path("name"));
        if (!config_.methods.emplace(key, policy).second)
          fields.refuse("name", key.empty() ? "for all methods, as another one is" : "\"" + key + "\" a second time");
      }
    fields.end();
  }

  std::string read_name(const element& from, const std::string& where) {
    Fields fields(&from, where, failure_);
    std::string service(fields.text("service").value_or("")), method(fields.text("method").value_or(""));
    if (service.empty() && !method.empty()) fields.need(false, "service", "a method is one of a service");
    if (service.find('/') != std::string::npos) fields.refuse("service", "a name without \"/\", as shop.Price");
    fields.end();
    return method.empty() ? service : service + "/" + method;
  }

  RetryOptions read_retry(const element& from, const std::string& where) {
    Fields fields(&from, where + ".retryPolicy", failure_);
    RetryOptions retry;
    retry.has_budget = false;
    std::optional<uint32_t> tries = fields.count("maxAttempts", 2);
    std::optional<Duration> first = fields.duration("initialBackoff"), most = fields.duration("maxBackoff");
    std::optional<double> multiplier = fields.number("backoffMultiplier", 1e-3, 1e3, "a number from 0.001 to 1000");
    fields.need(tries.has_value(), "maxAttempts", "how many tries, from 2 on");
    fields.need(first && *first > Duration{}, "initialBackoff", "a time above 0, as \"0.1s\"");
    fields.need(most && *most > Duration{}, "maxBackoff", "a time above 0, as \"1s\"");
    fields.need(multiplier.has_value(), "backoffMultiplier", "how much longer each pause is, as 2");
    if (tries) retry.tries = std::min(*tries, limits::tries_max);  // as A6 has it
    retry.first = first.value_or(retry.first);
    retry.most = most.value_or(retry.most);
    retry.multiplier = multiplier.value_or(retry.multiplier);
    retry.codes = read_codes(fields);
    fields.cannot("perAttemptRecvTimeout", "the timeout is that of all tries together");
    fields.end();
    return retry;
  }

  uint32_t read_codes(Fields& fields) {
    constexpr std::string_view name = "retryableStatusCodes";
    uint32_t codes = 0;
    if (std::optional<array> list = fields.list(name))
      for (const element& each : *list) {
        std::string_view text;
        int64_t number = 0;
        if (each.get(number) == simdjson::SUCCESS && number >= 1 && number <= 16)
          text = code_name(static_cast<Code>(number));
        else if (each.get(text) != simdjson::SUCCESS)
          text = "";
        std::optional<uint32_t> bits = text.find(',') == text.npos ? RetryOptions::parse_codes(text) : std::nullopt;
        if (!bits)
          fields.refuse(name, "a list of gRPC's codes, as [\"UNAVAILABLE\", \"ABORTED\"]; " + simdjson::minify(each) +
                                  " is none");
        codes |= bits.value_or(0);
      }
    fields.need(codes != 0, name, "which codes are worth another try, as [\"UNAVAILABLE\"]");
    return codes;
  }

  void fail(std::string text) {
    if (failure_.ok()) failure_ = invalid_argument(std::move(text));
  }

  ServiceConfig& config_;
  Status failure_;
};

}  // namespace

const MethodPolicy* find_method(const MethodPolicies& methods, std::string_view path) {
  if (path.starts_with('/')) path.remove_prefix(1);
  for (std::string_view key : {path, path.substr(0, path.find('/')), std::string_view()})
    if (auto found = methods.find(key); found != methods.end()) return &found->second;
  return nullptr;
}

Result<ServiceConfig> ServiceConfig::parse(std::string_view text) {
  simdjson::dom::parser parser;
  element whole;
  simdjson::error_code error = parser.allocate(text.size(), depth_max);
  if (error == simdjson::SUCCESS) error = parser.parse(text.data(), text.size()).get(whole);
  if (error != simdjson::SUCCESS)
    return invalid_argument(std::string("what begins with { is a gRPC service config, but this is no JSON: ") +
                            simdjson::error_message(error));
  ServiceConfig config;
  if (Status status = Reader(config).read(whole); !status.ok()) return status;
  return config;
}

}  // namespace nebula

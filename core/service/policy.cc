// service/policy.cc - words, lines, and what they open.
#include "service/policy.h"

#include "base/options.h"
#include "service/registry/registry.h"

namespace nebula {

namespace {

constexpr std::string_view words_known =
    "retry: failfast: failtry: failover: throttle: deadline: filter: subset: health: recovery: balancer= breaker= ejection=";
constexpr std::string_view spaces = " \t\r";

std::string_view trimmed(std::string_view text) {
  size_t first = text.find_first_not_of(spaces);
  if (first == std::string_view::npos) return {};
  return text.substr(first, text.find_last_not_of(spaces) - first + 1);
}

// The part up to a separator, which is taken off the text.
std::string_view cut(std::string_view* text, std::string_view separators) {
  size_t end = std::min(text->find_first_of(separators), text->size());
  std::string_view part = text->substr(0, end);
  text->remove_prefix(std::min(end + 1, text->size()));
  return part;
}

bool is_none(const Url& url) { return url.scheme == "none"; }

Result<Duration> parse_deadline(const Url& url) {
  Duration deadline;
  Options options(url);
  options.duration("default", &deadline);
  if (Status status = options.status(); !status.ok()) return status;
  return deadline;
}

Result<size_t> parse_subset(const Url& url) {
  uint32_t nodes = limits::subset_nodes;
  Options options(url);
  options.count("nodes", &nodes, 1, 1'000'000);
  if (Status status = options.status(); !status.ok()) return status;
  return size_t{nodes};
}

Result<std::optional<std::string>> parse_health(const Url& url) {
  std::string service;
  uint32_t watch = 1;
  Options options(url);
  options.text("service", &service).count("watch", &watch, 0, 1);
  if (Status status = options.status(); !status.ok()) return status;
  return watch == 1 ? std::optional(service) : std::nullopt;
}

Result<EjectionOptions> parse_ejection(const Url& url) {
  if (url.scheme == "outliers") return EjectionOptions::parse(url);
  return invalid_argument("\"" + url.text() + "\": there is ejection=outliers: and ejection=none:");
}

}  // namespace

// ---- text to words

Result<Policies::Word> Policies::parse_word(std::string_view text) {
  // "=" before ":" names the kind; else the scheme is the kind.
  size_t colon = text.find(':'), equals = text.substr(0, colon).find('=');
  std::string kind(text.substr(0, std::min(equals, colon)));
  TRY(Url url, Url::parse(equals == std::string_view::npos ? text : text.substr(equals + 1)));
  bool is_named = kind == "balancer" || kind == "breaker" || kind == "ejection";
  bool is_plain = kind == "throttle" || kind == "deadline" || kind == "filter" || kind == "subset" || kind == "health" ||
                  kind == "recovery" || RetryOptions::knows(kind);
  if (equals == std::string_view::npos ? !is_plain : !is_named)
    return invalid_argument("\"" + std::string(text) + "\": there is no such word; there are: " +
                            std::string(words_known));
  return Word{RetryOptions::knows(kind) ? "retry" : kind, std::move(url)};
}

Result<Policies::Line> Policies::parse_line(std::string_view text) {
  Line line;
  if (text.starts_with("channel ")) {
    text.remove_prefix(8);
    size_t colon = text.find(':');
    std::string_view name = trimmed(text.substr(0, colon));
    if (colon == std::string_view::npos)
      return invalid_argument("\"channel " + std::string(text) + "\": write channel name: words");
    if (name != "*") {
      if (Status named = check_service_name(name); !named.ok()) return named;
      line.service = name;
    }
    text.remove_prefix(colon + 1);
  }
  while (!text.empty()) {
    std::string_view part = cut(&text, spaces);
    if (part.empty()) continue;
    TRY(Word word, parse_word(part));
    line.words.push_back(std::move(word));
  }
  return line;
}

Result<Policies::Line> Policies::parse_config(std::string_view text) {
  TRY(ServiceConfig config, ServiceConfig::parse(text));
  Line line;
  for (auto& [kind, url] : config.words) line.words.push_back({std::move(kind), std::move(url)});
  if (!config.methods.empty()) line.methods = std::make_shared<const MethodPolicies>(std::move(config.methods));
  return line;
}

Result<std::vector<Policies::Line>> Policies::parse_lines(std::string_view text) {
  std::vector<Line> lines;
  if (size_t first = text.find_first_not_of(" \t\r\n"); first != std::string_view::npos && text[first] == '{') {
    TRY(Line line, parse_config(text));
    lines.push_back(std::move(line));
    return lines;
  }
  bool is_one = trimmed(text).find('\n') == std::string_view::npos;
  for (size_t number = 1; !text.empty(); number++) {
    for (std::string_view whole = cut(&text, "\n"); !whole.empty();) {
      std::string_view part = trimmed(cut(&whole, ";"));
      if (part.empty()) continue;
      if (part.starts_with('#')) break;
      Result<Line> line = parse_line(part);
      if (!line.ok()) return is_one ? line.status() : line.status().with_context("line " + std::to_string(number));
      line->number = is_one ? 0 : number;
      lines.push_back(std::move(*line));
    }
  }
  return lines;
}

Status Policies::add(std::string_view text, const Env& env) {
  Result<std::vector<Line>> lines = parse_lines(text);
  Status status = lines.status();
  for (size_t at = 0; status.ok() && at < lines->size(); at++) status = try_out((*lines)[at], env);
  if (!status.ok()) return status.with_context("policy");
  lines_.insert(lines_.end(), std::make_move_iterator(lines->begin()), std::make_move_iterator(lines->end()));
  return {};
}

// ---- words to what they mean

Status Policies::try_out(const Line& line, const Env& env) const {
  Policies alone(drivers_);
  for (const Word& word : line.words) {
    alone.lines_ = {Line{line.service, line.number, {word}}};
    Status status = alone.open(line.service, env).status();
    if (!status.ok()) return line.number == 0 ? status : status.with_context("line " + std::to_string(line.number));
  }
  return {};
}

// Named lines go before those for all, and of each the last word counts.
const Url* Policies::find(std::string_view kind, std::string_view service) const {
  const Url* for_all = nullptr;
  const Url* for_it = nullptr;
  for (const Line& line : lines_)
    for (const Word& word : line.words) {
      if (word.kind != kind) continue;
      if (line.service.empty()) for_all = &word.url;
      else if (line.service == service) for_it = &word.url;
    }
  return for_it != nullptr ? for_it : for_all;
}

Result<ChannelPolicy> Policies::open(std::string_view service, const Env& env) const {
  auto said = [&](std::string_view kind, std::string_view otherwise) {
    const Url* word = find(kind, service);
    return word != nullptr ? *word : *Url::parse(otherwise);
  };
  Url wanted = said("balancer", "p2c:"), breaker = said("breaker", "ratio:");
  TRY(std::unique_ptr<Balancer> balancer, drivers_.balancers.open(wanted, env));
  ChannelPolicy policy(std::move(balancer));
  // It has been opened once, so that it cannot fail.
  policy.make_balancer = [balancers = &drivers_.balancers, wanted, env] {
    return std::move(*balancers->open(wanted, env));
  };
  policy.balancer_text = wanted.text();
  policy.breaker_text = breaker.text();

  if (!is_none(breaker)) {
    // Once now, for its errors; thereafter it cannot fail.
    if (Status status = drivers_.breakers.open(breaker, env).status(); !status.ok()) return status;
    policy.make_breaker = [breakers = &drivers_.breakers, breaker, env] {
      return std::move(*breakers->open(breaker, env));
    };
  }

  if (Url ejection = said("ejection", "outliers:"); !is_none(ejection)) {
    TRY(policy.ejection, parse_ejection(ejection));
  }

  TRY(policy.retry, RetryOptions::parse(said("retry", "retry:")));
  TRY(policy.throttle, ThrottleOptions::parse(said("throttle", "throttle:")));
  TRY(policy.recovery, RecoveryOptions::parse(said("recovery", "recovery:")));
  TRY(policy.deadline, parse_deadline(said("deadline", "deadline:")));
  TRY(policy.filter, Filter::parse(said("filter", "filter:")));
  TRY(policy.nodes_max, parse_subset(said("subset", "subset:")));
  TRY(policy.health, parse_health(said("health", "health:?watch=0")));
  // As of words the last counts; gRPC has one service config, so that of two they do not mix.
  for (const Line& line : lines_)
    if (line.methods != nullptr) policy.methods = line.methods;
  return policy;
}

}  // namespace nebula

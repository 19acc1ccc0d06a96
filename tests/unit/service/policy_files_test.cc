// unit/service/policy_files_test.cc - a policy in a file that is edited, replaced, spoiled, removed and brought back.
#include "service/policy_files.h"

#include <criterion/criterion.h>

#include <cstdio>
#include <filesystem>

#include "kit/registry_world.h"
#include "kit/world.h"
#include "service/policy_places.h"
#include "service/registry/mem.h"

using namespace nebula;
using namespace nebula::kit;

namespace {

struct Scene {
  Scene() {
    write("first");
    watch = registry.watch_policy("file:" + path(), [this](std::string text) { texts.push_back(std::move(text)); });
  }

  std::string path() const { return directory.file("conf/policy"); }
  void write(const std::string& text) {
    std::filesystem::create_directories(directory.file("conf"));
    write_file(path(), text);
  }
  bool until_told(const std::string& text) {
    return world.run_until([&] { return !texts.empty() && texts.back() == text; });
  }

  TempDirectory directory;
  RealWorld world;
  std::vector<std::string> texts;
  RegistryWithPlaces registry{std::make_unique<MemRegistry>(world.loop), world.loop, world.log,
                              [](std::string_view text) { return text == "bad" ? invalid_argument("bad") : Status(); }};
  std::unique_ptr<Watch> watch;
};

}  // namespace

Test(policy_files, tell_what_stands_there_and_each_change) {
  Scene scene;
  cr_assert(scene.until_told("first"));
  scene.write("second");
  cr_assert(scene.until_told("second"));
}

Test(policy_files, may_be_replaced_by_a_rename) {
  Scene scene;
  cr_assert(scene.until_told("first"));
  write_file(scene.directory.file("conf/policy.new"), "renamed");
  cr_assert_eq(std::rename(scene.directory.file("conf/policy.new").c_str(), scene.path().c_str()), 0);
  cr_assert(scene.until_told("renamed"));
}

Test(policy_files, may_be_a_link_through_a_folder_that_is_turned) {
  Scene scene;
  std::string conf = scene.directory.file("conf");
  for (const char* version : {"..1", "..2"}) {
    std::filesystem::create_directories(conf + "/" + version);
    write_file(conf + "/" + version + "/policy", version);
  }
  std::filesystem::create_symlink("..1", conf + "/..data");
  std::filesystem::create_symlink("..data/policy", conf + "/policy.link");
  cr_assert_eq(std::rename((conf + "/policy.link").c_str(), scene.path().c_str()), 0);
  cr_assert(scene.until_told("..1"));
  std::filesystem::create_symlink("..2", conf + "/..next");
  cr_assert_eq(std::rename((conf + "/..next").c_str(), (conf + "/..data").c_str()), 0);
  cr_assert(scene.until_told("..2"));
}

Test(policy_files, keep_the_former_policy_when_a_new_one_is_bad) {
  Scene scene;
  cr_assert(scene.until_told("first"));
  scene.write("bad");
  scene.world.run_turns(20);
  scene.write("good again");
  cr_assert(scene.until_told("good again"));
  cr_assert(scene.texts == (std::vector<std::string>{"first", "good again"}));
}

Test(policy_files, keep_the_former_policy_while_the_file_or_its_folder_is_gone) {
  Scene scene;
  cr_assert(scene.until_told("first"));
  std::filesystem::remove(scene.path());
  scene.world.run_turns(20);
  scene.write("back");
  cr_assert(scene.until_told("back"));
  std::filesystem::remove_all(scene.directory.file("conf"));
  scene.world.run_turns(20);
  scene.write("back with its folder");
  cr_assert(scene.until_told("back with its folder"));
  cr_assert_eq(scene.texts.size(), 3);
}

Test(policy_files, tell_nobody_who_has_stopped_listening) {
  Scene scene;
  cr_assert(scene.until_told("first"));
  std::vector<std::string> others;
  std::unique_ptr<Watch> other = scene.registry.watch_policy(
      "file:" + scene.path(), [&others](std::string text) { others.push_back(std::move(text)); });
  scene.watch.reset();
  scene.write("second");
  cr_assert(scene.world.run_until([&] { return !others.empty() && others.back() == "second"; }));
  cr_assert_eq(scene.texts.size(), 1);
}

Test(policy_files, say_what_is_wrong_with_a_place) {
  TempDirectory directory;
  auto error_of = [](const std::string& path) { return read_policy_file(path).status().text(); };
  cr_assert(error_of(directory.file("none")).ends_with("/none: No such file or directory"), "%s",
            error_of(directory.file("none")).c_str());
  for (const char* path : {"relative", "/etc/", "/etc/.policy", ""})
    cr_assert(error_of(path).find("write file:/path/name") != std::string::npos, "%s", path);
  write_file(directory.file("large"), std::string(300 << 10, ' '));
  cr_assert(error_of(directory.file("large")).find("larger than 256 KiB") != std::string::npos);
}

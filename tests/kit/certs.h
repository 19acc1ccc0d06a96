// kit/certs.h - authorities and certificates made for one test, as files.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

struct evp_pkey_st;
struct x509_st;

namespace nebula::kit {

// A folder of its own, removed with all that was written into it.
class Folder {
 public:
  Folder();
  ~Folder();
  std::string path(const std::string& name) const { return path_ + "/" + name; }
  std::string write(const std::string& name, const std::string& text) const;  // returns the path; replaces at once

 private:
  std::string path_;
};

struct CertWish {
  std::string subject = "test";
  std::string names = "DNS:localhost,IP:127.0.0.1";  // as OpenSSL writes them; empty: none
  int64_t from_s = -3600, until_s = 3600;            // from now
  std::string usage = {};                            // extended: "clientAuth", "serverAuth"; empty: any
};

struct Pair509 {
  std::string certificate, key;  // PEM
};

class Authority {
 public:
  explicit Authority(const std::string& name, int64_t until_s = 3600);
  Authority(const std::string& name, const Authority& above);
  Pair509 issue(const CertWish& wish = {}) const;
  std::string pem() const;
  std::string revoke(const Pair509& pair) const;  // a list (CRL) with that certificate

 private:
  std::shared_ptr<evp_pkey_st> key_;
  std::shared_ptr<x509_st> certificate_;
};

Pair509 self_signed(const CertWish& wish = {});

}  // namespace nebula::kit

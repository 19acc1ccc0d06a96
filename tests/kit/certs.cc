// kit/certs.cc - X.509 by OpenSSL, P-256 keys.
#include "kit/certs.h"

#include <fcntl.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <openssl/x509v3.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>

#include "base/assert.h"

namespace nebula::kit {

namespace {

using Key = std::shared_ptr<EVP_PKEY>;
using Certificate = std::shared_ptr<X509>;

Key new_key() { return {EVP_EC_gen("P-256"), EVP_PKEY_free}; }

template <class Write>
std::string pem_of(Write write) {
  std::unique_ptr<BIO, decltype(&BIO_free)> out(BIO_new(BIO_s_mem()), BIO_free);
  NEBULA_ASSERT(write(out.get()) == 1);
  char* data;
  long size = BIO_get_mem_data(out.get(), &data);
  return {data, static_cast<size_t>(size)};
}

std::string pem_of(const Certificate& certificate) {
  return pem_of([&](BIO* out) { return PEM_write_bio_X509(out, certificate.get()); });
}

std::string pem_of(const Key& key) {
  return pem_of(
      [&](BIO* out) { return PEM_write_bio_PrivateKey(out, key.get(), nullptr, nullptr, 0, nullptr, nullptr); });
}

void extend(X509* certificate, int kind, const std::string& value) {
  if (value.empty()) return;
  X509_EXTENSION* extension = X509V3_EXT_conf_nid(nullptr, nullptr, kind, value.c_str());
  NEBULA_ASSERT(extension != nullptr);
  NEBULA_ASSERT(X509_add_ext(certificate, extension, -1) == 1);
  X509_EXTENSION_free(extension);
}

// Signed by `issuer`, or by itself if that is null.
Certificate make(const CertWish& wish, bool is_authority, EVP_PKEY* key, X509* issuer, EVP_PKEY* issuer_key) {
  Certificate made(X509_new(), X509_free);
  X509_set_version(made.get(), 2);
  int64_t serial = 0;
  RAND_bytes(reinterpret_cast<unsigned char*>(&serial), 7);
  ASN1_INTEGER_set_int64(X509_get_serialNumber(made.get()), serial);
  X509_gmtime_adj(X509_getm_notBefore(made.get()), wish.from_s);
  X509_gmtime_adj(X509_getm_notAfter(made.get()), wish.until_s);
  X509_set_pubkey(made.get(), key);
  X509_NAME* name = X509_get_subject_name(made.get());
  const unsigned char* subject = reinterpret_cast<const unsigned char*>(wish.subject.c_str());
  X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_UTF8, subject, -1, -1, 0);
  X509_set_issuer_name(made.get(), issuer != nullptr ? X509_get_subject_name(issuer) : name);
  if (is_authority) {
    extend(made.get(), NID_basic_constraints, "critical,CA:TRUE");
    extend(made.get(), NID_key_usage, "critical,keyCertSign,cRLSign");
  }
  extend(made.get(), NID_subject_alt_name, is_authority ? "" : wish.names);
  extend(made.get(), NID_ext_key_usage, wish.usage);
  NEBULA_ASSERT(X509_sign(made.get(), issuer_key != nullptr ? issuer_key : key, EVP_sha256()) > 0);
  return made;
}

}  // namespace

Folder::Folder() {
  std::string path = (std::filesystem::temp_directory_path() / "nebula-certs-XXXXXX").string();
  NEBULA_ASSERT(::mkdtemp(path.data()) != nullptr);
  path_ = path;
}

Folder::~Folder() { std::filesystem::remove_all(path_); }

std::string Folder::write(const std::string& name, const std::string& text) const {
  std::string at = path(name);
  std::ofstream(at + ".new") << text;
  std::filesystem::rename(at + ".new", at);
  return at;
}

Authority::Authority(const std::string& name, int64_t until_s) : key_(new_key()) {
  certificate_ = make({name, "", -7200, until_s}, true, key_.get(), nullptr, nullptr);
}

Authority::Authority(const std::string& name, const Authority& above) : key_(new_key()) {
  certificate_ = make({name, ""}, true, key_.get(), above.certificate_.get(), above.key_.get());
}

Pair509 Authority::issue(const CertWish& wish) const {
  Key key = new_key();
  return {pem_of(make(wish, false, key.get(), certificate_.get(), key_.get())), pem_of(key)};
}

std::string Authority::revoke(const Pair509& pair) const {
  std::unique_ptr<BIO, decltype(&BIO_free)> in(BIO_new_mem_buf(pair.certificate.data(), -1), BIO_free);
  Certificate revoked(PEM_read_bio_X509(in.get(), nullptr, nullptr, nullptr), X509_free);
  std::unique_ptr<X509_CRL, decltype(&X509_CRL_free)> list(X509_CRL_new(), X509_CRL_free);
  std::unique_ptr<ASN1_TIME, decltype(&ASN1_TIME_free)> now(X509_gmtime_adj(nullptr, -60), ASN1_TIME_free);
  std::unique_ptr<ASN1_TIME, decltype(&ASN1_TIME_free)> next(X509_gmtime_adj(nullptr, 3600), ASN1_TIME_free);
  X509_CRL_set_version(list.get(), 1);
  X509_CRL_set_issuer_name(list.get(), X509_get_subject_name(certificate_.get()));
  X509_CRL_set1_lastUpdate(list.get(), now.get());
  X509_CRL_set1_nextUpdate(list.get(), next.get());
  X509_REVOKED* entry = X509_REVOKED_new();
  X509_REVOKED_set_serialNumber(entry, X509_get_serialNumber(revoked.get()));
  X509_REVOKED_set_revocationDate(entry, now.get());
  X509_CRL_add0_revoked(list.get(), entry);
  NEBULA_ASSERT(X509_CRL_sign(list.get(), key_.get(), EVP_sha256()) > 0);
  return pem_of([&](BIO* out) { return PEM_write_bio_X509_CRL(out, list.get()); });
}

std::string Authority::pem() const { return pem_of(certificate_); }

Pair509 self_signed(const CertWish& wish) {
  Key key = new_key();
  return {pem_of(make(wish, false, key.get(), nullptr, nullptr)), pem_of(key)};
}

}  // namespace nebula::kit

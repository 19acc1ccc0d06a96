// rpc/reflection.h - grpc.reflection.v1 and v1alpha: what clients without stubs ask, grpcurl above all.
#pragma once

#include "rpc/descriptors.h"
#include "rpc/router.h"

namespace nebula {

class Reflection final : public Service {
 public:
  // Both outlive it. What is served comes from the router, what it looks like from the descriptors.
  Reflection(const Router& router, const Descriptors& descriptors) : router_(router), descriptors_(descriptors) {}

  // The two differ in their package alone.
  Method v1() { return {"/grpc.reflection.v1.ServerReflection/ServerReflectionInfo", true, this, Shape::bidi}; }
  Method v1alpha() { return {"/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo", true, this, Shape::bidi}; }

  void call(Request request, Reply reply) override;

 private:
  class Answers;

  const Router& router_;
  const Descriptors& descriptors_;
};

}  // namespace nebula

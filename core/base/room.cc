// base/room.cc - what is said where there is none.
#include "base/room.h"

#include <string>

namespace nebula {

Status no_room_for(size_t bytes) {
  return resource_exhausted("there is no room for an answer of " + std::to_string(bytes) +
                            " bytes beside those that the client has not read yet");
}

}  // namespace nebula

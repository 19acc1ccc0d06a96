// transport/transports.h - the built-in transports, for the list in core/drivers.cc.
#pragma once

#include "base/driver.h"
#include "transport/transport.h"

namespace nebula {

Driver<Transport> tcp_driver();
Driver<Transport> unix_driver();
Driver<Transport> tls_driver();
Driver<Transport> mem_driver();
Driver<Transport> fault_driver();

}  // namespace nebula

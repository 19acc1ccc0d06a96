// base/heap.h - what we ask of malloc, which is the whole process's.
#pragma once

namespace nebula {

// From now on the end of the heap is not given back to the system as soon as 128 KiB of it are free, but 2 MiB. A
// message of 64 KiB is there a few times at once, in the reader, in the program and in what is sent: without this each
// call gave its pages back, and the next one had them mapped, and cleared, anew.
void heap_keep();

// All that is free goes back to the system: malloc itself does that at the end of the heap only.
void heap_give_back();

}  // namespace nebula

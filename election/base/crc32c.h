/* CRC-32C (Castagnoli, RFC 3720 appendix B.4), the same on every machine. */
#pragma once

#include <stddef.h>
#include <stdint.h>

/* The checksum of @bytes, continued from @crc, which is 0 or an earlier result. */
uint32_t crc32c(uint32_t crc, const void *bytes, size_t n);

/* The same without the processor's help, as on machines that have no instruction for it. */
uint32_t crc32c_by_tables(uint32_t crc, const void *bytes, size_t n);

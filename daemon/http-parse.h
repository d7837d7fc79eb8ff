/*
 * One HTTP/1 request out of the bytes of a connection, by RFC 9112: request line, the headers that
 * this server looks at, and the body, chunked or not. It works in place, allocates nothing, knows no
 * sockets, and does not believe what two parties could understand in two ways. Private to the server.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
        HTTP_HEAD_MAX = 32 * 1024, /* bytes of the request line and all headers; more is 431 */
        HTTP_BODY_MAX = 4 * 1024 * 1024, /* bytes of a body; more is 413 */
        HTTP_CHUNK_LINE_MAX = 256, /* bytes of the line before a chunk */
        HTTP_TRAILER_MAX = 8 * 1024, /* bytes of the headers behind the last chunk */
};

enum http_method {
        HTTP_GET,
        HTTP_HEAD,
        HTTP_PUT,
        HTTP_POST,
        HTTP_DELETE,
        HTTP_OPTIONS,
        HTTP_OTHER, /* any other name */
};

enum http_progress {
        HTTP_MORE, /* it is not whole yet */
        HTTP_WHOLE,
        HTTP_BAD, /* and will not be understood: @status says why */
};

enum http_part {
        HTTP_PART_HEAD,
        HTTP_PART_BODY, /* @left bytes of it are missing */
        HTTP_PART_CHUNK_SIZE,
        HTTP_PART_CHUNK, /* @left bytes of it are missing */
        HTTP_PART_CHUNK_END,
        HTTP_PART_TRAILER,
        HTTP_PART_END,
};

/*
 * How far a request has been read. Begin with zeros. Places are offsets from the first byte of the
 * request, because the bytes may move from call to call; 0 is "none".
 */
struct http_parser {
        enum http_part part;
        size_t at; /* what stands before it has been understood */
        size_t scanned; /* up to here there is no end of the line that begins at @at */
        size_t n_trailer;
        uint64_t left;
        int status; /* of HTTP_BAD: 400, 413, 414, 431, 501 or 505 */

        enum http_method method;
        unsigned minor; /* of HTTP/1.minor */
        size_t path; /* percent-decoded, ends with a NUL, has no other */
        size_t query; /* as it came, ends with a NUL; 0: none */
        size_t content_type; /* ends with a NUL; 0: none */
        size_t body; /* where it begins */
        size_t n_body; /* 0 for a method whose body means nothing: it is read and dropped */
        bool has_content_type;
        bool has_length;
        bool has_host;
        bool is_chunked;
        bool is_from_page; /* has an Origin: a browser says that a web page made it */
        bool wants_close;
        bool wants_keep_alive;
        bool wants_continue; /* waits for 100 before it sends the body */
        uint64_t length;
};

/*
 * Reads on in the @n bytes at @bytes, which begin with the request and stay the same from call to
 * call but for what is added behind. They are changed in place, and @n gets smaller by what is not
 * needed any more. With HTTP_WHOLE the request ends at @p->at, and what follows is the next one's.
 */
enum http_progress http_parse(struct http_parser *p, char *bytes, size_t *n);

/* Whether the request may wait for 100 Continue: its head is whole, and nothing of its body came. */
bool http_parser_waits(const struct http_parser *p, size_t n);

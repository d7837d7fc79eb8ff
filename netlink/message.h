/* Netlink messages: writing with a limit, reading with a check of each attribute's type and size. */
#pragma once

#include <libmnl/libmnl.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
        MESSAGE_SIZE = 512, /* no request of ours needs more */
        ATTRIBUTES_MAX = 128, /* types of attributes of one message that can be told apart */
};

/*
 * A request that is being written. What does not fit any more sets `failed`, which is asked once,
 * by netlink_request().
 */
struct netlink_message {
        _Alignas(struct nlmsghdr) uint8_t bytes[MESSAGE_SIZE];
        bool failed;
};

/* Begins @m with the type RTM_..., and with the flags NLM_F_REQUEST and @flags. */
void netlink_message_init(struct netlink_message *m, uint16_t type, uint16_t flags);

/* The fixed part behind the header: zeroed, for the caller to fill. Call once, at once. */
void *netlink_message_put_body(struct netlink_message *m, size_t size);

void netlink_message_put(struct netlink_message *m, uint16_t type, const void *bytes, size_t n);
void netlink_message_put_u8(struct netlink_message *m, uint16_t type, uint8_t value);
void netlink_message_put_u32(struct netlink_message *m, uint16_t type, uint32_t value);
void netlink_message_put_string(struct netlink_message *m, uint16_t type, const char *s);

/* Attributes until netlink_message_nest_end() are inside the one of @type; NULL when there is no room. */
struct nlattr *netlink_message_nest(struct netlink_message *m, uint16_t type);
void netlink_message_nest_end(struct netlink_message *m, struct nlattr *nest);

struct nlmsghdr *netlink_message_header(struct netlink_message *m);

/* What is expected of one type of attribute; types without a row are not looked at. */
struct attribute_rule {
        uint16_t type;
        bool is_string; /* ends with NUL */
        size_t size_min;
};

/* Attributes by their type; NULL: absent. */
struct netlink_attributes {
        const struct nlattr *of[ATTRIBUTES_MAX];
};

/*
 * Collects the attributes of @n_rules rules behind the @body_size bytes of fixed part of @header.
 * -EBADMSG: the fixed part is too short, or an attribute breaks its rule.
 */
int netlink_attributes_read(const struct nlmsghdr *header, size_t body_size,
                            const struct attribute_rule *rules, size_t n_rules,
                            struct netlink_attributes *ret);

/* The same for what is inside of @nest. */
int netlink_attributes_read_nested(const struct nlattr *nest, const struct attribute_rule *rules,
                                   size_t n_rules, struct netlink_attributes *ret);

/* Netlink messages: writing with a limit, reading with a check of each attribute. */
#include "netlink/message.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

struct nlmsghdr *netlink_message_header(struct netlink_message *m)
{
        return (struct nlmsghdr *)m->bytes;
}

void netlink_message_init(struct netlink_message *m, uint16_t type, uint16_t flags)
{
        struct nlmsghdr *header;

        *m = (struct netlink_message){ 0 };
        header = mnl_nlmsg_put_header(m->bytes);
        header->nlmsg_type = type;
        header->nlmsg_flags = (uint16_t)(NLM_F_REQUEST | flags);
}

void *netlink_message_put_body(struct netlink_message *m, size_t size)
{
        assert(mnl_nlmsg_size(size) <= sizeof(m->bytes));
        return mnl_nlmsg_put_extra_header(netlink_message_header(m), size);
}

void netlink_message_put(struct netlink_message *m, uint16_t type, const void *bytes, size_t n)
{
        if (!mnl_attr_put_check(netlink_message_header(m), sizeof(m->bytes), type, n, bytes))
                m->failed = true;
}

void netlink_message_put_u8(struct netlink_message *m, uint16_t type, uint8_t value)
{
        netlink_message_put(m, type, &value, sizeof(value));
}

void netlink_message_put_u32(struct netlink_message *m, uint16_t type, uint32_t value)
{
        netlink_message_put(m, type, &value, sizeof(value));
}

void netlink_message_put_string(struct netlink_message *m, uint16_t type, const char *s)
{
        netlink_message_put(m, type, s, strlen(s) + 1);
}

struct nlattr *netlink_message_nest(struct netlink_message *m, uint16_t type)
{
        struct nlattr *nest = mnl_attr_nest_start_check(netlink_message_header(m), sizeof(m->bytes),
                                                        type);

        if (!nest)
                m->failed = true;
        return nest;
}

void netlink_message_nest_end(struct netlink_message *m, struct nlattr *nest)
{
        if (nest)
                mnl_attr_nest_end(netlink_message_header(m), nest);
}

/* What mnl_attr_parse() hands through to collect(). */
struct collection {
        const struct attribute_rule *rules;
        size_t n_rules;
        struct netlink_attributes *attributes;
};

static int collect(const struct nlattr *attribute, void *userdata)
{
        struct collection *c = userdata;
        uint16_t type = mnl_attr_get_type(attribute);

        for (size_t i = 0; i < c->n_rules; i++) {
                const struct attribute_rule *rule = &c->rules[i];

                if (rule->type != type)
                        continue;
                if (mnl_attr_get_payload_len(attribute) < rule->size_min)
                        return MNL_CB_ERROR;
                if (rule->is_string && mnl_attr_validate(attribute, MNL_TYPE_NUL_STRING) < 0)
                        return MNL_CB_ERROR;
                assert(type < ATTRIBUTES_MAX);
                c->attributes->of[type] = attribute;
                return MNL_CB_OK;
        }
        return MNL_CB_OK;
}

int netlink_attributes_read(const struct nlmsghdr *header, size_t body_size,
                            const struct attribute_rule *rules, size_t n_rules,
                            struct netlink_attributes *ret)
{
        struct netlink_attributes a = { 0 };
        struct collection c = { .rules = rules, .n_rules = n_rules, .attributes = &a };

        if (mnl_nlmsg_get_payload_len(header) < body_size)
                return -EBADMSG;
        if (mnl_attr_parse(header, (unsigned)body_size, collect, &c) < 0)
                return -EBADMSG;
        *ret = a;
        return 0;
}

int netlink_attributes_read_nested(const struct nlattr *nest, const struct attribute_rule *rules,
                                   size_t n_rules, struct netlink_attributes *ret)
{
        struct netlink_attributes a = { 0 };
        struct collection c = { .rules = rules, .n_rules = n_rules, .attributes = &a };

        if (mnl_attr_parse_nested(nest, collect, &c) < 0)
                return -EBADMSG;
        *ret = a;
        return 0;
}

/* Circular doubly-linked lists whose links live inside the objects.
 *
 * A head is a link too.  An object knows whether it is in a list
 * (link_linked) and can leave without knowing which.
 */
#ifndef HEADGATE_BASE_LIST_H
#define HEADGATE_BASE_LIST_H

#include <stdbool.h>
#include <stddef.h>

struct link_node {
    struct link_node *next, *prev; /* both NULL while in no list */
};

static inline void list_init(struct link_node *head)
{
    head->next = head->prev = head;
}

static inline bool list_empty(const struct link_node *head)
{
    return head->next == head;
}

static inline bool link_linked(const struct link_node *node)
{
    return node->next != NULL;
}

static inline void list_append(struct link_node *head, struct link_node *node)
{
    node->prev = head->prev;
    node->next = head;
    head->prev->next = node;
    head->prev = node;
}

static inline void list_prepend(struct link_node *head, struct link_node *node)
{
    list_append(head->next, node);
}

/* Does nothing for a node that is in no list. */
static inline void list_remove(struct link_node *node)
{
    if (!node->next)
        return;
    node->prev->next = node->next;
    node->next->prev = node->prev;
    node->next = node->prev = NULL;
}

/* Takes the first one out; NULL when empty. */
static inline struct link_node *list_pop(struct link_node *head)
{
    struct link_node *node = head->next;

    if (node == head)
        return NULL;
    list_remove(node);
    return node;
}

/* Moves all of `from` to the end of `to`. */
static inline void list_splice(struct link_node *to, struct link_node *from)
{
    if (list_empty(from))
        return;
    from->next->prev = to->prev;
    to->prev->next = from->next;
    from->prev->next = to;
    to->prev = from->prev;
    list_init(from);
}

#endif

/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * load_object.h -- one object after the other being made of a dump's lines
 */

#include "dumpload/json.h"
#include "dumpload/line.h"
#include "dumpload/load.h"
#include "dumpload/load_put.h"

enum loaded_state {
        LOADED_DECLARED, /* made, and empty: something refers to it */
        LOADED_OPEN,     /* its entries are being read */
        LOADED_WHOLE,
        LOADED_EXISTING, /* the one that is there has this name, and stays */
        LOADED_GONE      /* it was deleted, or damaged, when the dump was made */
};

struct loaded {
        objd_ref ref; /* 0 for GONE */
        char *name;   /* NULL for none */
        enum loaded_state state;
};

/* A large value, coming in parts. */
struct parts {
        bool pending;
        objd_value value; /* without its data yet */
        uint8_t *memory;
        size_t size, have, room;
        char *name; /* a message's */
        struct given key;
        int64_t priority;
};

struct load {
        struct objd_conn *conn;
        const struct lines *lines;
        enum load_existing existing;
        struct load_report *report;

        struct loaded *objects; /* objects[number - 1] */
        size_t len, room;
        bool is_decided; /* what has been made stays, whatever becomes of this process */

        /* the object under way */
        uint32_t number;     /* 0: none */
        objd_object *object; /* NULL: its entries are only read over */
        objd_kind kind;
        objd_config config;
        struct object_state state;
        uint64_t n_entries;
        struct parts parts;
        struct pending pending;
};

/* What a line of each kind asks for. Sentences begin with the line's place. */
objd_status load_declare(struct load *load, const struct line *line);
objd_status load_begin(struct load *load, const struct line *line);
objd_status load_entry(struct load *load, const struct line *line);
objd_status load_part(struct load *load, const struct line *line);
objd_status load_end(struct load *load, const struct line *line);
objd_status load_gone(struct load *load, const struct line *line);

/* The whole file has been read: the objects get their names, all of them, by this process or by whoever finds it dead. */
objd_status load_publish(struct load *load);

/* What the engine said, with the line of the file in front of it; r itself. */
objd_status load_here(const struct load *load, objd_status r);
objd_status load_here_at(const struct load *load, uint64_t line,
                         objd_status r); /* another line than the last */

/* Frees everything; if it has not come to that, what has been made is deleted. */
void load_deinit(struct load *load);

/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Boost.Interprocess: an unordered_map in a managed segment of shared memory, each operation under one
 * interprocess_mutex; and its message_queue.
 *
 *     peer_boost get N      random finds, the value copied out
 *     peer_boost set N      inserts from empty into a new segment ("insert_fresh") and into one that has been
 *                           filled and emptied before ("insert_present"), assigns to keys that are there
 *                           ("set"), erases half of them at random ("erase") and puts them back ("insert")
 *     peer_boost pair N     get, alone and from two processes on one map
 *     peer_boost putget     message_queue, send and receive in one process
 *     peer_boost stream     message_queue, from one process to another
 * */

#include "bench.h"

#include <boost/interprocess/allocators/allocator.hpp>
#include <boost/interprocess/ipc/message_queue.hpp>
#include <boost/interprocess/managed_shared_memory.hpp>
#include <boost/interprocess/sync/interprocess_mutex.hpp>
#include <boost/interprocess/sync/scoped_lock.hpp>
#include <boost/unordered_map.hpp>
#include <memory>
#include <string>
#include <unistd.h>

namespace ipc = boost::interprocess;

namespace
{

const size_t n_putget = 1000000;
const size_t n_stream = 1000000;

struct key_hash {
        size_t operator()(const bench_key &key) const
        {
                return bench_hash(&key);
        }
};

struct key_equal {
        bool operator()(const bench_key &a, const bench_key &b) const
        {
                return !memcmp(a.bytes, b.bytes, sizeof(a.bytes));
        }
};

typedef std::pair<const bench_key, bench_value> entry;
typedef ipc::allocator<entry, ipc::managed_shared_memory::segment_manager> entry_allocator;
typedef boost::unordered_map<bench_key, bench_value, key_hash, key_equal, entry_allocator> map_type;

/* A map with its mutex, both in a segment that has no name any more. */
struct store {
        std::unique_ptr<ipc::managed_shared_memory> segment;
        ipc::interprocess_mutex *mutex;
        map_type *map;
        bench_keys keys;

        explicit store(size_t n)
        {
                const std::string name = "objbench-boost-" + std::to_string(getpid());

                bench_keys_init(&keys, n, 1);
                segment.reset(new ipc::managed_shared_memory(ipc::create_only, name.c_str(),
                                                             64 * 1024 * 1024 + n * 512));
                ipc::shared_memory_object::remove(name.c_str());
                mutex = segment->construct<ipc::interprocess_mutex>("mutex")();
                map = segment->construct<map_type>("map")(0, key_hash(), key_equal(),
                                                          entry_allocator(segment->get_segment_manager()));
        }

        double insert();
        double reinsert(size_t n);
        double get();
        double set();
        double erase(size_t n);
};

typedef ipc::scoped_lock<ipc::interprocess_mutex> guard;

double store::insert()
{
        bench_value value = {};
        uint64_t start = bench_now();

        for (size_t i = 0; i < keys.n; i++) {
                bench_value_fill(&value, i);
                guard lock(*mutex);
                map->emplace(keys.key[i], value);
        }
        return double(bench_now() - start) / double(keys.n);
}

/* Inserts the keys that erase(n) has taken out. */
double store::reinsert(size_t n)
{
        bench_value value = {};
        uint64_t start = bench_now();

        for (size_t i = 0; i < n; i++) {
                bench_value_fill(&value, keys.order[i]);
                guard lock(*mutex);
                map->emplace(keys.ordered[i], value);
        }
        return double(bench_now() - start) / double(n);
}

double store::get()
{
        bench_value out;
        uint64_t sum = 0, start = bench_now();

        for (size_t i = 0; i < keys.n; i++) {
                {
                        guard lock(*mutex);
                        map_type::const_iterator found = map->find(keys.ordered[i]);

                        if (found == map->end())
                                bench_die("a key is missing");
                        out = found->second;
                }
                bench_consume(&out);
                sum += bench_value_index(&out);
        }
        start = bench_now() - start;
        if (sum != bench_sum(keys.n))
                bench_die("wrong values");
        return double(start) / double(keys.n);
}

double store::set()
{
        bench_value value = {};
        uint64_t start = bench_now();

        for (size_t i = 0; i < keys.n; i++) {
                bench_value_fill(&value, keys.order[i]);
                guard lock(*mutex);
                (*map)[keys.ordered[i]] = value;
        }
        return double(bench_now() - start) / double(keys.n);
}

double store::erase(size_t n)
{
        uint64_t start = bench_now();

        for (size_t i = 0; i < n; i++) {
                guard lock(*mutex);
                map->erase(keys.ordered[i]);
        }
        return double(bench_now() - start) / double(n);
}

void run_get(size_t n)
{
        double samples[BENCH_MAX_REPS];
        size_t reps = bench_reps(n);
        store s(n);

        s.insert();
        s.get();
        for (size_t rep = 0; rep < reps; rep++)
                samples[rep] = s.get();
        bench_emit("get", "ns", samples, reps, "");
}

void run_set(size_t n)
{
        double fresh[BENCH_MAX_REPS], present[BENCH_MAX_REPS], sets[BENCH_MAX_REPS], erases[BENCH_MAX_REPS],
                inserts[BENCH_MAX_REPS];
        size_t reps = n <= 200000 ? 5 : 3;

        for (size_t rep = 0; rep < reps; rep++) {
                store s(n);

                fresh[rep] = s.insert();
                s.erase(n);
                present[rep] = s.insert();
                sets[rep] = s.set();
                erases[rep] = s.erase(n / 2);
                inserts[rep] = s.reinsert(n / 2);
        }
        bench_emit("insert_fresh", "ns", fresh, reps, "from empty, a new segment");
        bench_emit("insert_present", "ns", present, reps, "from empty, pages present");
        bench_emit("insert", "ns", inserts, reps, "into the full table");
        bench_emit("set", "ns", sets, reps, "");
        bench_emit("erase", "ns", erases, reps, "");
}

void pair_work(void *arg, unsigned, size_t)
{
        static_cast<store *>(arg)->get();
}

void run_pair(size_t n)
{
        store s(n);

        s.insert();
        bench_pair(NULL, pair_work, &s, n, bench_passes(n));
}

/* ---- message_queue ----------------------------------------------------------------------------------- */

std::unique_ptr<ipc::message_queue> queue_new()
{
        const std::string name = "objbench-boost-mq-" + std::to_string(getpid());
        std::unique_ptr<ipc::message_queue> queue(
                new ipc::message_queue(ipc::create_only, name.c_str(), BENCH_QUEUE_BOUND, BENCH_ITEM_SIZE));

        ipc::message_queue::remove(name.c_str());
        return queue;
}

void queue_send(ipc::message_queue *queue, uint64_t i)
{
        char item[BENCH_ITEM_SIZE] = {};

        memcpy(item, &i, sizeof(i));
        queue->send(item, sizeof(item), 0);
}

uint64_t queue_receive(ipc::message_queue *queue)
{
        ipc::message_queue::size_type size;
        char item[BENCH_ITEM_SIZE];
        unsigned priority;

        queue->receive(item, sizeof(item), size, priority);
        bench_consume(item);
        return bench_value_index(item);
}

void queue_produce(void *arg, size_t n)
{
        for (size_t i = 0; i < n; i++)
                queue_send(static_cast<ipc::message_queue *>(arg), i);
}

void queue_consume(void *arg, size_t n)
{
        for (size_t i = 0; i < n; i++) {
                if (queue_receive(static_cast<ipc::message_queue *>(arg)) != i)
                        bench_die("out of order");
        }
}

void run_putget()
{
        std::unique_ptr<ipc::message_queue> queue = queue_new();
        double samples[BENCH_MAX_REPS];
        size_t reps = bench_reps(n_putget);

        for (size_t rep = 0; rep < reps; rep++) {
                uint64_t start = bench_now();

                for (size_t i = 0; i < n_putget; i++) {
                        queue_send(queue.get(), i);
                        if (queue_receive(queue.get()) != i)
                                bench_die("out of order");
                }
                samples[rep] = double(bench_now() - start) / double(n_putget);
        }
        bench_emit("putget", "ns", samples, reps, "1024 deep");
}

void run_stream()
{
        std::unique_ptr<ipc::message_queue> queue = queue_new();

        bench_stream(queue_produce, queue_consume, queue.get(), n_stream, 5, "1024 deep");
}

} // namespace

int main(int argc, char **argv)
{
        const std::string row = argc > 1 ? argv[1] : "";

        bench_pin(1);
        if (argc == 2 && row == "putget")
                run_putget();
        else if (argc == 2 && row == "stream")
                run_stream();
        else if (argc == 3 && row == "get")
                run_get(bench_count(argv[2]));
        else if (argc == 3 && row == "set")
                run_set(bench_count(argv[2]));
        else if (argc == 3 && row == "pair")
                run_pair(bench_count(argv[2]));
        else
                bench_die("usage: peer_boost get|set|pair N, peer_boost putget|stream");
        return 0;
}

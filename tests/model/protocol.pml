/*
 * Never older than the database: the protocol of docs/explanation/consistency.md, for Spin.
 *
 *     writer                                      reader
 *     1. UPDATE (not visible to others)           a. look: entry and generations, no fence met
 *     2. fence(dependencies)                      b. SELECT
 *     3. COMMIT                                   c. fill under the generations of the look
 *     4. release(dependencies): new generations
 *
 * Each atomic step is one request to one server. Between two of them anything else may happen, and
 * Spin tries all of it. Names in capitals are given with -D: "How much" says how many there are of
 * what, "What if" breaks a rule or an assumption. test_protocol.py says what becomes of each.
 *
 * All rows are one number, the version: how many changes are committed. There are no row locks: two
 * writers of one table may change different rows, and come in any order.
 */

/*
 * How much ----------------------------------------------------------------------------------------
 */

#ifndef WRITERS
#define WRITERS 1       /* transactions that write: one or two */
#endif
#ifndef FILLERS
#define FILLERS 1       /* readers beside the one that is watched; each reads again and again */
#endif
#ifndef DEPENDENCIES
#define DEPENDENCIES 1  /* of every entry: a table, or two of them; the first may be the epoch */
#endif
#ifndef EVICTIONS
#define EVICTIONS 1     /* of generations; entries are evicted again and again */
#endif
#ifndef OUTSIDE
#define OUTSIDE 0       /* changes by another program, with invalidate() or flush() after it */
#endif

/*
 * What if -----------------------------------------------------------------------------------------
 *
 * The writer:   NO_FENCE, BUMP_BEFORE, BOOLEAN_FENCE, EARLY_FENCE, OWN_WRITES_FILL,
 *               TRUSTING_RELEASE, IMMORTAL
 * The reader:   FENCED_FILL, SNAPSHOT_FILL, SNAPSHOT_HIT
 * The store:    SHORT_FENCE, SHORT_FENCE_OF_THE_DEAD, LOST_FENCE, LOST_FENCE_AFTER_COMMIT,
 *               COUNTER, BACK_IN_TIME
 * The network:  CONNECTION_LOST, LEAVE_FENCED, TWICE, TWICE_THE_SAME_TOKEN
 *
 * FRESH_AFTER_DEATH and STALE_AFTER_DEATH look for a hit of that kind after a writer was killed,
 * and for nothing else.
 */

/*
 * The promise -------------------------------------------------------------------------------------
 *
 * No read that begins now is given less than this version. It is promised from its COMMIT on, or,
 * where less is promised, from the return of that COMMIT to its writer, or from the release on.
 */

#define FROM_COMMIT 0
#define FROM_RETURN 1
#define FROM_RELEASE 2
#ifndef PROMISED
#define PROMISED FROM_COMMIT
#endif

byte promised;

inline promise(from, version_committed)
{
    if
    :: PROMISED == from && version_committed > promised -> promised = version_committed
    :: else
    fi
}

/*
 * The store ---------------------------------------------------------------------------------------
 */

#define MISSING 0
#define MARK 255
#define MOST_TOKENS 12
#define is_token(value) (value != MISSING && value != MARK)

/* The last of the dependencies: the second, or the first once more. */
#define LAST (DEPENDENCIES - 1)

typedef Entry {
    byte generation[DEPENDENCIES];
    byte version
}

Entry entry;
byte generation[DEPENDENCIES] = 1;
byte holders[DEPENDENCIES];  /* the writers in a mark, a bit each */
byte tokens = 1;             /* made so far; none is made twice */

#define copy_generations(source, target) target[0] = source[0]; target[LAST] = source[LAST]
/* What is not needed any more is cleared: states that differ in nothing else are then one. */
#define forget_generations(target) target[0] = MISSING; target[LAST] = MISSING

#ifdef BOOLEAN_FENCE
#define bit_of(writer) 1  /* the mark says that somebody writes, and not who */
#else
#define bit_of(writer) (1 << writer)
#endif

inline make_token(place)
{
    assert(tokens < MOST_TOKENS);
    tokens++;
    place = tokens
}

inline fence(writer, name)
{
#ifdef BUMP_BEFORE
    make_token(generation[name]);
    printf("writer %d: new generation %d\n", writer, generation[name])
#else
    holders[name] = holders[name] | bit_of(writer);
    generation[name] = MARK;
    printf("writer %d: fence\n", writer)
#endif
}

/*
 * While another writer's mark is there it stays, or: fence(0) fence(1) release(0) look SELECT fill
 * COMMIT(1), and then a hit. That writer's release gives the generation.
 *
 * A writer whose own mark is gone gives a new generation too, since readers may have filled.
 */
inline release(writer, name)
{
    printf("writer %d: release\n", writer);
    if
#ifdef TRUSTING_RELEASE
    :: (holders[name] & bit_of(writer)) == 0
#endif
    :: else ->
        holders[name] = holders[name] & ~bit_of(writer);
        if
        :: holders[name] == 0 ->
            make_token(generation[name]);
#ifdef TWICE_THE_SAME_TOKEN
            token_sent[writer] = generation[name]
#endif
        :: else
        fi
    fi
}

#ifdef TWICE_THE_SAME_TOKEN
byte token_sent[WRITERS];
#endif

/*
 * The database ------------------------------------------------------------------------------------
 *
 * A COMMIT that was sent takes effect or is refused some time later, also if its sender has died.
 */

mtype:outcome = { OPEN, SENT, COMMITTED, ROLLED_BACK }

mtype:outcome transaction[WRITERS] = OPEN;
byte committed;            /* the version that a SELECT gives */
byte version_of[WRITERS];  /* which one each writer committed, if that is needed */

inline commit_or_refuse(writer)
{
    if
    :: committed++;
        transaction[writer] = COMMITTED;
        if
        :: PROMISED != FROM_COMMIT -> version_of[writer] = committed
        :: else
        fi;
        promise(FROM_COMMIT, committed);
        printf("writer %d: COMMIT\n", writer)
    :: transaction[writer] = ROLLED_BACK;
        printf("writer %d: ROLLBACK\n", writer)
    fi
}

proctype Database()
{
end:
    do
    :: atomic { transaction[0] == SENT -> commit_or_refuse(0) }
#if WRITERS > 1
    :: atomic { transaction[1] == SENT -> commit_or_refuse(1) }
#endif
    od
}

/*
 * Writers -----------------------------------------------------------------------------------------
 */

bool gone[WRITERS];  /* has released, or never will */
#if defined(FRESH_AFTER_DEATH) || defined(STALE_AFTER_DEATH)
bool killed[WRITERS];
#endif
#ifdef TWICE
bool fence_arrived, release_arrived;  /* of writer 0, the first time */
#endif

inline may_be_killed()
{
    if
    :: true
#ifndef IMMORTAL
    :: goto dead
#endif
    fi
}

/* One request for each dependency: they may be on different servers. */
inline fence_all()
{
    name = first;
    do
    :: atomic {
            may_be_killed();
            fence(me, name);
#ifdef TWICE
            fence_arrived = fence_arrived || me == 0;
#endif
            name++;
            if
            :: name > LAST -> name = 0; break
            :: else
            fi
        }
    od
}

proctype Writer(byte me)
{
    byte first;  /* it changes this dependency and those after it */
    byte name;

#if DEPENDENCIES > 1
    if
    :: first = 0
    :: first = 1
    fi;
#endif

#ifdef EARLY_FENCE
    fence_all();
#endif

    atomic {
        may_be_killed();
        printf("writer %d: UPDATE\n", me)
    }

#ifdef OWN_WRITES_FILL
    atomic {
        is_token(generation[0]) ->
        entry.generation[0] = generation[0];
        entry.version = committed + 1;
        printf("writer %d: fill, version %d\n", me, entry.version)
    }
#endif

    /*
     * Before COMMIT, or: COMMIT, and then a hit on an entry from before (NO_FENCE). A new
     * generation before and after it is not enough, or: bump look SELECT fill COMMIT, and then a
     * hit (BUMP_BEFORE). As late as possible, or the mark may end before the transaction does
     * (EARLY_FENCE).
     */
#if !defined(NO_FENCE) && !defined(EARLY_FENCE)
    fence_all();
#endif

    atomic {
        may_be_killed();
        transaction[me] = SENT
    }
    atomic {
        if
        :: transaction[me] != SENT ->
            printf("writer %d: COMMIT has returned\n", me);
            promise(FROM_RETURN, version_of[me])
#ifndef IMMORTAL
        :: goto dead
#endif
#ifdef CONNECTION_LOST
        :: transaction[me] == SENT ->
            printf("writer %d: loses its connection\n", me);
#ifdef LEAVE_FENCED
            goto done
#endif
#endif
        fi
    }

    /*
     * Committed or rolled back, and also where the writer does not know which: from here on, a look
     * comes after the end of the transaction, and so does its SELECT. If the transaction may still
     * end later, the mark must stay, or: release look SELECT fill COMMIT, and then a hit
     * (CONNECTION_LOST).
     */
    name = first;
    do
    :: atomic {
            may_be_killed();
            release(me, name);
#ifdef TWICE
            release_arrived = release_arrived || me == 0;
#endif
            name++;
            if
            :: name > LAST -> promise(FROM_RELEASE, version_of[me]); goto done
            :: else
            fi
        }
    od;

dead:
    atomic {
        printf("writer %d: is killed\n", me);
#if defined(FRESH_AFTER_DEATH) || defined(STALE_AFTER_DEATH)
        killed[me] = true;
#endif
        if
        :: transaction[me] == OPEN -> transaction[me] = ROLLED_BACK
        :: else
        fi
    }
done:
    atomic {
        name = 0;
        first = 0;
        gone[me] = true
    }
}

/*
 * Readers -----------------------------------------------------------------------------------------
 */

#define ENTRY (1 << DEPENDENCIES)
#define GENERATIONS (ENTRY - 1)

#define fence_met (!is_token(looked[0]) || !is_token(looked[LAST]))
#define is_fresh \
    (!fence_met && found.generation[0] == looked[0] && found.generation[LAST] == looked[LAST])

mtype = { reader, filler, snapshot }

/*
 * A look asks for the entry and for each generation, in any order: they may be on different
 * servers. The order does not matter, since no generation comes twice: one that is there now has
 * been there ever since the look of the reader that filled under it.
 */
inline ask_for_entry(who)
{
    atomic {
        (asked & ENTRY) == 0 ->
        asked = asked | ENTRY;
        copy_generations(entry.generation, found.generation);
        found.version = entry.version;
        printf("%e: sees the entry\n", who)
    }
}

/* One that is missing is created if it still is, and read back: others may have been faster. */
inline ask_for_generation(who, name)
{
    atomic {
        (asked & (1 << name)) == 0 ->
        asked = asked | (1 << name);
        see_generation(who, name)
    }
    if
    :: looked[name] == MISSING ->
        atomic {
            if
            :: generation[name] == MISSING ->
#ifdef COUNTER
                generation[name] = 1;
#else
                make_token(generation[name]);
#endif
                printf("%e: creates generation %d\n", who, generation[name])
            :: else
            fi
        }
        atomic { see_generation(who, name) }
    :: else
    fi
}

inline see_generation(who, name)
{
    looked[name] = generation[name];
    if
    :: looked[name] == MARK -> printf("%e: meets a fence\n", who)
    :: else -> printf("%e: sees generation %d\n", who, looked[name])
    fi
}

/*
 * One SET, at any time after the SELECT: the entry says which generations it belongs to, those of
 * the look. If they are gone by now it will never be fresh.
 */
inline fill(who)
{
#ifdef FENCED_FILL
    if
    :: fence_met -> looked[0] = generation[0]
    :: else
    fi;
#endif
    copy_generations(looked, entry.generation);
    entry.version = version;
    printf("%e: fill, version %d\n", who, version);
    version = 0;
    forget_generations(looked)
}

inline check_hit()
{
#ifdef FRESH_AFTER_DEATH
    assert(!(killed[0] && version == WRITERS))
#else
#ifdef STALE_AFTER_DEATH
    if
    :: killed[0] -> assert(version >= promised_here)
    :: else
    fi
#else
    assert(version >= promised_here);
    assert(version <= committed)
#endif
#endif
}

/* What holds for this reader holds for all. */
proctype Reader()
{
    byte promised_here;
    byte asked;
    byte looked[DEPENDENCIES];
    Entry found;
    byte version;

begin:
    promised_here = promised;
    do
    :: ask_for_entry(reader)
    :: ask_for_generation(reader, 0)
#if DEPENDENCIES > 1
    :: ask_for_generation(reader, 1)
#endif
    :: atomic {
            asked == (ENTRY | GENERATIONS) ->
            asked = 0;
            if
            :: is_fresh ->
                version = found.version;
                printf("reader: hit, version %d\n", version);
                if
                :: version == WRITERS + OUTSIDE -> printf("reader: nothing can be newer\n")
                :: else
                fi;
                check_hit();
                version = 0;
                promised_here = 0;
                forget_generations(looked);
                forget_generations(found.generation);
                found.version = 0;
                goto begin
            :: else ->
                forget_generations(found.generation);
                found.version = 0;
                break
            fi
        }
    od;
    atomic {
        version = committed;
        printf("reader: SELECT, version %d\n", version);
        assert(version >= promised_here);
        promised_here = 0;
#ifndef FENCED_FILL
        /*
         * Whether this SELECT came before or after the COMMIT, nobody knows. There is no generation
         * to fill under, and one found later will not do: SELECT COMMIT release fill, and then a
         * hit (FENCED_FILL).
         */
        if
        :: fence_met -> version = 0; forget_generations(looked); goto begin
        :: else
        fi
#endif
    }
    atomic { fill(reader) }
    goto begin
}

/*
 * Any other reader, as far as that one notices: whatever the others hit on, it is their fills that
 * matter. So these never look for an entry.
 */
#if FILLERS > 0
proctype Filler()
{
    byte asked;
    byte looked[DEPENDENCIES];
    byte version;

begin:
    do
    :: ask_for_generation(filler, 0)
#if DEPENDENCIES > 1
    :: ask_for_generation(filler, 1)
#endif
    :: asked == GENERATIONS -> asked = 0; break
    od;
    atomic {
        version = committed;
        printf("filler: SELECT, version %d\n", version);
        if
        :: fence_met -> version = 0; forget_generations(looked); goto begin
        :: else
        fi
    }
    atomic { fill(filler) }
    goto begin
}
#endif

/*
 * A transaction that goes on reading what was true when it began (REPEATABLE READ, SERIALIZABLE,
 * SQLite) keeps away from the store. If it filled: its snapshot, COMMIT, release, its look and
 * fill, and then a hit of another reader (SNAPSHOT_FILL). If it hit: two reads of one snapshot
 * differ (SNAPSHOT_HIT). To look up the generations after the SELECT, or to read from a replica
 * that lags, is the same as SNAPSHOT_FILL.
 */
#if defined(SNAPSHOT_FILL) || defined(SNAPSHOT_HIT)
proctype Snapshot()
{
    byte asked;
    byte looked[DEPENDENCIES];
    Entry found;
    byte version;

    atomic {
        version = committed;
        printf("snapshot: begins with version %d\n", version)
    }
    do
    :: ask_for_entry(snapshot)
    :: ask_for_generation(snapshot, 0)
    :: asked == (ENTRY | GENERATIONS) -> break
    od;
#ifdef SNAPSHOT_HIT
    atomic {
        is_fresh ->
        printf("snapshot: hit, version %d\n", found.version);
        assert(found.version == version)
    }
#else
    atomic { !fence_met -> fill(snapshot) }
#endif
}
#endif

/*
 * What else happens -------------------------------------------------------------------------------
 */

/* What is changed by others than Django is promised from invalidate() on, or from flush() on. */
#if OUTSIDE > 0
proctype Outside()
{
    byte version;

    atomic {
        committed++;
        version = committed;
        printf("outside: COMMIT\n")
    }
    atomic {
        if
        :: holders[0] == 0 -> make_token(generation[0])
        :: else
        fi;
        if
        :: version > promised -> promised = version
        :: else
        fi;
        version = 0;
        printf("outside: invalidate\n")
    }
}
#endif

/*
 * The mark of a writer that is not coming back ends by itself and leaves no generation. It must not
 * end before the transaction does, or: deadline look SELECT fill COMMIT, and then a hit.
 */
#ifdef SHORT_FENCE
#define is_over(writer) true
#elif defined(SHORT_FENCE_OF_THE_DEAD)
#define is_over(writer) gone[writer]
#else
#define is_over(writer) (gone[writer] && transaction[writer] != SENT)
#endif

inline reach_deadline(writer, name)
{
    atomic {
        (holders[name] & bit_of(writer)) != 0 && is_over(writer) ->
        holders[name] = holders[name] & ~bit_of(writer);
        if
        :: holders[name] == 0 -> generation[name] = MISSING
        :: else
        fi;
        printf("store: the fence of writer %d ends by itself\n", writer)
    }
}

inline evict_generation(name)
{
    atomic {
        evictions < EVICTIONS && is_token(generation[name]) ->
        evictions++;
        generation[name] = MISSING;
        printf("store: a generation is evicted\n")
    }
}

/* A mark is the one thing that a store must not lose, or it is a fence that is too short. */
#define has_ended(writer) \
    (transaction[writer] == COMMITTED || transaction[writer] == ROLLED_BACK)
#ifdef LOST_FENCE_AFTER_COMMIT
#define may_be_lost(name) \
    (((holders[name] & bit_of(0)) == 0 || has_ended(0)) && \
     ((holders[name] & bit_of(WRITERS - 1)) == 0 || has_ended(WRITERS - 1)))
#else
#define may_be_lost(name) true
#endif

inline lose_mark(name)
{
    atomic {
        accidents < 1 && generation[name] == MARK && may_be_lost(name) ->
        accidents++;
        holders[name] = 0;
        generation[name] = MISSING;
        printf("store: a fence is lost\n")
    }
}

proctype Store()
{
    byte evictions;
    byte accidents;
#ifdef TWICE
    bool fence_again, release_again;
#endif

end:
    do
    :: atomic {
            entry.generation[0] != MISSING ->
            entry.version = 0;
            forget_generations(entry.generation)
        }
#if !defined(NO_FENCE) && !defined(BUMP_BEFORE)
    :: reach_deadline(0, 0)
#if WRITERS > 1
    :: reach_deadline(1, 0)
#endif
#if DEPENDENCIES > 1
    :: reach_deadline(0, 1)
#if WRITERS > 1
    :: reach_deadline(1, 1)
#endif
#endif
#endif
#if EVICTIONS > 0
    :: evict_generation(0)
#if DEPENDENCIES > 1
    :: evict_generation(1)
#endif
#endif
#if defined(LOST_FENCE) || defined(LOST_FENCE_AFTER_COMMIT)
    :: lose_mark(0)
#endif
    /* A restart from an older dump, or a replica promoted that had not got the last changes. */
#ifdef BACK_IN_TIME
    :: atomic {
            accidents < 1 && gone[0] ->
            accidents++;
            holders[0] = 0;
            generation[0] = 1;
            printf("store: is as it was before\n")
        }
#endif
    /*
     * A client that got no answer sends its request again, over another connection. The first one
     * may still be on its way, and arrive at any time.
     */
#ifdef TWICE
    :: atomic {
            fence_arrived && !fence_again ->
            fence_again = true;
            printf("store: another time\n");
            fence(0, 0)
        }
    :: atomic {
            release_arrived && !release_again ->
            release_again = true;
            printf("store: another time\n");
            release(0, 0)
        }
#endif
    /*
     * A token that comes with the request comes twice, too: release(0) look SELECT fill fence(1)
     * COMMIT(1) release(1), release(0) once more, and then a hit.
     */
#ifdef TWICE_THE_SAME_TOKEN
    :: atomic {
            accidents < 1 && token_sent[0] != MISSING && holders[0] == 0 ->
            accidents++;
            generation[0] = token_sent[0];
            printf("store: another time\n");
            printf("writer 0: release\n")
        }
#endif
    od
}

init {
    byte number;

    atomic {
        /* The cache is cold, or warm. */
        if
        :: true
        :: copy_generations(generation, entry.generation)
        fi;
        run Database();
        run Store();
        run Reader();
#if FILLERS > 0
        for (number : 1 .. FILLERS) { run Filler() }
#endif
        for (number : 1 .. WRITERS) { run Writer(number - 1) }
#if OUTSIDE > 0
        run Outside();
#endif
#if defined(SNAPSHOT_FILL) || defined(SNAPSHOT_HIT)
        run Snapshot();
#endif
        number = 0
    }
}

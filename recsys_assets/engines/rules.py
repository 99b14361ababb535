"""The rules of the kinds in SQL, in Spark's dialect: one text for every engine.

What they ask:

    events    day (since 1970), ts (nanoseconds since 1970), user_id, session_id, item_id, file,
              line, part, weight; without the events of bots
    visits    session_id, item_id: what the sessions hold, each pair once
    unlisted  item_id: items that may not be listed

A rule gives the columns of its contract in their order, in published order. Text is compared by its
UTF-8 bytes, so nothing is left to chance: each order is total.
"""

from __future__ import annotations

from typing import Final

_DAY_NS: Final = 86_400_000_000_000

EVERYTHING: Final = f"""
select case when ts < 0 then (ts + 1) div {_DAY_NS} - 1 else ts div {_DAY_NS} end as day,
  ts, user_id, session_id, item_id, file, line,
  coalesce(part, 0) as part, coalesce(weight, 1) as weight
from stored
"""

# Behind `select * from everything`, for what is too large on a day: sessions, or users.
LEAVE_OUT: Final = """
left anti join (
  select day, {of} from (select distinct day, {of}, item_id from everything) held
  group by day, {of} having count(*) > {most}
) large_{of} on large_{of}.day = everything.day and large_{of}.{of} = everything.{of}
"""

ITEMS: Final = "select distinct item_id from events"

NONE_UNLISTED: Final = "select cast(null as string) as item_id where 1 = 0"
UNLISTED: Final = "select item_id from given"

VISITS: Final = "select distinct session_id, item_id from events"

# Built sessions that go on after midnight have the id of their beginning (`compute/built.py`). Of
# each user and day, the first and the last session are looked at; `fresh` is the first midnight
# that a session goes on after, the others follow where one takes up a whole day.
JOINED_VISITS: Final = """
with built as (
  select user_id, day, ts, session_id, {gap} as gap from events
  where user_id is not null and startswith(session_id, '{built}')
),
edges as (
  select user_id, day, max(gap) as gap, min(ts) as first_ts, max(ts) as last_ts,
    min_by(session_id, ts) as first_id, max_by(session_id, ts) as last_id
  from built group by user_id, day
),
beside as (
  select user_id, day, first_id, first_id = last_id as is_whole,
    lag(last_id) over (partition by user_id order by day) as id_before,
    coalesce(
      first_ts - lag(last_ts) over (partition by user_id order by day)
        <= least(gap, lag(gap) over (partition by user_id order by day)),
      false
    ) as goes_on
  from edges
),
chained as (
  select user_id, day, first_id, id_before, goes_on, goes_on and not coalesce(
    lag(goes_on and is_whole) over (partition by user_id order by day), false
  ) as fresh
  from beside
),
numbered as (
  select user_id, day, first_id, id_before, fresh,
    sum(case when fresh then 1 else 0 end) over (partition by user_id order by day) as chain
  from chained where goes_on
),
joined as (
  select n.day, n.first_id as session_id, b.id_before as begun
  from numbered n
  join numbered b on b.user_id = n.user_id and b.chain = n.chain and b.fresh
)
select distinct coalesce(joined.begun, events.session_id) as session_id, events.item_id
from events left join joined
  on joined.day = events.day and joined.session_id = events.session_id
"""

POPULARITY: Final = """
select item_id, cast(sum({weight} * ({of_day})) as bigint) as count
from events left anti join unlisted on unlisted.item_id = events.item_id
group by item_id having sum({weight} * ({of_day})) > 0
order by count desc, item_id limit {top_n}
"""

# What both kinds of users do with `kept`: user_id, item_id, n.
_STRONGEST: Final = """
strongest as (
  select user_id, item_id, cast(n as double) as score from (
    select user_id, item_id, n,
      row_number() over (partition by user_id order by n desc, item_id) as place
    from kept
  ) ranked where place <= {top_n}
)"""

IMPLICIT: Final = f"""
with counted as (
  select user_id, item_id, sum({{weight}}) as n from events
  where user_id is not null group by user_id, item_id
),
kept as (
  select counted.* from counted left anti join unlisted on unlisted.item_id = counted.item_id
),{_STRONGEST}
select user_id, item_id, score from strongest order by user_id, score desc, item_id
"""

# The first event of a user is next to none. Of nearly all users one event is left by its time.
SESSION_SEQ: Final = f"""
with earliest as (
  select user_id, min(ts) as ts from events where user_id is not null group by user_id
),
opening as (
  select user_id, item_id from (
    select events.user_id, events.item_id, row_number() over (
      partition by events.user_id order by file, line, part
    ) as nth
    from events join earliest on earliest.user_id = events.user_id and earliest.ts = events.ts
  ) numbered where nth = 1
),
counted as (
  select user_id, item_id, count(*) as n from events
  where user_id is not null group by user_id, item_id
),
following as (
  select counted.user_id, counted.item_id,
    counted.n - case when opening.item_id is null then 0 else 1 end as n
  from counted left join opening
    on opening.user_id = counted.user_id and opening.item_id = counted.item_id
),
kept as (
  select following.* from following left anti join unlisted
    on unlisted.item_id = following.item_id
  where following.n > 0
),{_STRONGEST}
select user_id, item_id, score from strongest
union all
select opening.user_id, cast(null as string), cast(null as double)
from opening left anti join strongest on strongest.user_id = opening.user_id
order by user_id, score desc, item_id
"""

SESSIONS: Final = """
select count(*) as sessions,
  count(case when size > {max_items_per_session} then 1 end) as oversized,
  (select count(distinct item_id) from visits) as items
from (select session_id, count(*) as size from visits group by session_id) sized
"""

# Items are compared, and pairs counted, by the place of their id among all, 4 bytes. Items that may
# not be listed count in the size of a session. A session that is too large is left out; one that
# holds another item gives an item its list, be it empty. Where `max_items` cuts no item off, each
# pair is counted once, and turned for the other item, which halves what is held. Otherwise only the
# pairs of items that have a list are counted, each for itself.
TURNED: Final = {"than": "<", "turns": 1}
NOT_TURNED: Final = {"than": "<>", "turns": 0}
COOC: Final = """
with codes as (
  select item_id, cast(row_number() over (order by item_id) as int) as item
  from (select distinct item_id from visits) known
),
marked as (
  select codes.item_id, codes.item, unlisted.item_id is null as is_listed
  from codes left join unlisted on unlisted.item_id = codes.item_id
),
baskets as (
  select count(*) as size, collect_list(marked.item) filter (where marked.is_listed) as items
  from visits join marked on marked.item_id = visits.item_id
  group by visits.session_id having count(*) <= {max_items_per_session}
),
listed as (
  select item from (
    select item, count(*) as sessions, max(size) as largest
    from (select explode(items) as item, size from baskets) held group by item
  ) found where largest > 1 order by sessions desc, item limit {max_items}
),
pairs as (
  select item, neighbour, count(*) as count from (
    select held.item, explode(held.items) as neighbour
    from (select explode(items) as item, items from baskets where size > 1) held
    left semi join listed on listed.item = held.item
  ) both_of where item {than} neighbour
  group by item, neighbour having count(*) >= {min_support}
),
turned as (
  select case when side = 0 then item else neighbour end as item,
    case when side = 0 then neighbour else item end as neighbour, count
  from pairs cross join (select explode(sequence(0, {turns})) as side) sides
),
strongest as (
  select item, neighbour, count from (
    select item, neighbour, count,
      row_number() over (partition by item order by count desc, neighbour) as place
    from turned
  ) ranked where place <= {max_neighbours}
),
lists as (
  select item, neighbour, count from strongest
  union all
  select listed.item, cast(null as int), cast(null as bigint)
  from listed left anti join strongest on strongest.item = listed.item
)
select owners.item_id, entries.item_id as neighbour_id, lists.count
from lists
join codes owners on owners.item = lists.item
left join codes entries on entries.item = lists.neighbour
order by lists.item, lists.count desc, lists.neighbour
"""

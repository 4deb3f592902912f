"""Files of requests for pictures, drawn by many machines.

from inkpunk_fleet import Crew, run

for outcome in run("requests.jsonl", "pictures", Crew(least=2, most=2)):
    print(outcome.line, outcome.state)
"""

from inkpunk_fleet.fleet import run
from inkpunk_fleet.reading import Requests
from inkpunk_fleet.running import Crew, FleetError
from inkpunk_fleet.store import Store, StoreError
from inkpunk_fleet.tasks import Outcome, Task
from inkpunk_fleet.worker import Worker

__all__ = ["Crew", "FleetError", "Outcome", "Requests", "Store", "StoreError", "Task", "Worker", "run"]

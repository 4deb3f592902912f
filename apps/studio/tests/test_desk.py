import asyncio
import io
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from inkpunk import Order, RequestError, read_facts
from inkpunk.orders.values import OrderError
from inkpunk.pictures.paths import PATH
from inkpunk_studio.settings import Settings, SettingsError
from inkpunk_studio.work.attachments import Attachment
from inkpunk_studio.work.book import Book, QueueFullError
from inkpunk_studio.work.desk import Desk
from inkpunk_studio.work.job import Job, NoSuchJobError
from inkpunk_studio.work.limits import check_plain_name
from PIL import Image

Make = Callable[..., Order]
PATIENCE = 30.0  # seconds, for what takes milliseconds


def until(true: Callable[[], bool]) -> None:
    end = time.monotonic() + PATIENCE
    while not true():
        assert time.monotonic() < end
        time.sleep(0.002)


def picture(colour: str = "red") -> Attachment:
    file = io.BytesIO()
    image = Image.new("RGB", (64, 64), colour)
    if colour == "red":
        image.paste("black", (16, 16, 48, 48))
    image.save(file, "png")
    return Attachment(file.getvalue())


def test_a_job_draws_its_orders_with_their_recipes(desk: Desk, order: Make) -> None:
    job = desk.submit([order(seed=3), order(seed=4, format="webp")], client="test", warnings=["mind"])
    assert (job.client, job.warnings, job.orders[1].seed) == ("test", ("mind",), 4)
    job = desk.wait(job.id, PATIENCE)
    assert (job.state, job.error, job.place, job.progress.picture) == ("done", None, None, 2)
    assert [each.seed for each in job.drawn] == [3, 4]
    assert [each.path.suffix for each in job.drawn] == [".png", ".webp"]
    assert [read_facts(each.path).seed for each in job.drawn] == [3, 4]
    assert "Seed: 3" in job.drawn[0].infotext
    assert job.began and job.ended and job.made <= job.began <= job.ended


def test_the_name_of_what_is_loaded_is_looked_for_once(
    desk: Desk, order: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    desk.wait(desk.submit([order()], client="test").id, PATIENCE)
    assert desk.loaded == "sketch"
    monkeypatch.setattr(desk.models, "name_of", None)  # which looks through folders
    assert desk.loaded == "sketch"


def test_the_same_order_twice_is_two_pictures(desk: Desk, order: Make) -> None:
    jobs = [desk.wait(desk.submit([order()], client="test").id) for _ in range(2)]
    first, second = (job.drawn[0].path for job in jobs)
    assert first != second
    assert first.read_bytes() == second.read_bytes()


def test_names_of_pictures_do_not_give_the_jobs_id_away(desk: Desk, order: Make) -> None:
    job = desk.wait(desk.submit([order()], client="test").id)
    assert not any(job.id[place : place + 6] in job.drawn[0].path.name for place in range(len(job.id) - 5))


def test_ids_sort_by_time(desk: Desk, order: Make) -> None:
    ids = [desk.submit([order()], client="test").id for _ in range(20)]
    assert ids == sorted({*ids})


def test_jobs_wait_in_their_order_and_can_be_moved(open_desk: Any, gate: Any, order: Make) -> None:
    desk = open_desk(load=gate)
    drawing, *waiting = (desk.submit([order(seed=seed)], client="test").id for seed in range(4))
    until(lambda: desk.job(drawing).state == "drawing")
    assert [desk.job(id).place for id in waiting] == [0, 1, 2]
    assert desk.move(waiting[2], 0).place == 0
    assert [job.id for job in desk.jobs()] == [waiting[2], waiting[0], waiting[1], drawing]
    assert desk.move(drawing, 0).state == "drawing"
    gate.let_pass(8)
    ended = [desk.wait(id, PATIENCE) for id in (drawing, waiting[2], waiting[0], waiting[1])]
    assert [job.state for job in ended] == ["done"] * 4
    assert [job.ended for job in ended] == sorted(job.ended for job in ended)
    assert [job.id for job in desk.jobs()] == [job.id for job in reversed(ended)]


def test_a_waiting_job_is_cancelled_at_once(open_desk: Any, gate: Any, order: Make) -> None:
    desk = open_desk(load=gate)
    first, second = (desk.submit([order()], client="test").id for _ in range(2))
    assert desk.cancel(second).state == "cancelled"
    gate.let_pass(2)
    assert desk.wait(first, PATIENCE).state == "done"
    assert desk.job(second).drawn == ()
    assert desk.cancel(first).state == "done"


def test_a_job_that_is_drawn_stops_within_a_step_and_saves_nothing(
    open_desk: Any, gate: Any, order: Make
) -> None:
    desk = open_desk(load=gate)
    id = desk.submit([order(steps=20)], client="test").id
    gate.let_pass(3)
    until(lambda: desk.job(id).progress.step == 3)
    assert desk.cancel(id).stopping
    gate.let_pass(1)
    job = desk.wait(id, PATIENCE)
    assert (job.state, job.drawn, job.stopping) == ("cancelled", (), False)
    assert not [*desk.settings.pictures.iterdir()]


def test_a_picture_that_is_wanted_as_it_stands_is_kept_beside_its_job(
    open_desk: Any, gate: Any, order: Make
) -> None:
    desk = open_desk(load=gate)
    id = desk.submit(
        [order(seed=seed, steps=20, enlarge=enlarge) for seed, enlarge in ((1, "1.5"), (2, "1.5"))],
        client="test",
    ).id
    gate.let_pass(3)
    until(lambda: desk.job(id).progress.step == 3)
    desk.cancel(id, keep=True)
    gate.let_pass(1)
    job = desk.wait(id, PATIENCE)
    assert (job.state, job.drawn) == ("cancelled", ())
    assert job.unfinished is not None
    with Image.open(job.unfinished.path) as image:
        image.load()
    assert (read_facts(job.unfinished.path).seed, job.unfinished.seed) == (1, 1)
    assert not [*desk.settings.pictures.iterdir()]


def test_where_nothing_is_begun_nothing_is_kept(open_desk: Any, gate: Any, order: Make) -> None:
    desk = open_desk(load=gate)
    first, second = (desk.submit([order()], client="test").id for _ in range(2))
    until(lambda: desk.job(first).state == "drawing")
    assert desk.cancel(second, keep=True).unfinished is None
    desk.cancel(first)
    gate.let_pass(1)
    assert desk.wait(first, PATIENCE).unfinished is None


def test_skipping_ends_a_picture_and_goes_on_with_the_next(open_desk: Any, gate: Any, order: Make) -> None:
    desk = open_desk(load=gate)
    id = desk.submit([order(seed=1), order(seed=2)], client="test").id
    gate.let_pass(1)
    until(lambda: desk.job(id).progress.step == 1)
    desk.skip(id)
    gate.let_pass(3)
    job = desk.wait(id, PATIENCE)
    assert (job.state, job.skipped, [each.seed for each in job.drawn]) == ("done", (0,), [2])


def test_a_skip_before_a_step_counts_for_one_picture_alone(open_desk: Any, gate: Any, order: Make) -> None:
    desk = open_desk(load=gate)
    id = desk.submit([order(seed=seed) for seed in range(3)], client="test").id
    until(lambda: desk.job(id).state == "drawing")
    desk.skip(id)
    desk.skip(id)
    gate.let_pass(100)
    assert desk.wait(id, PATIENCE).skipped == (0,)


def test_a_preview_is_of_the_picture_that_is_drawn(open_desk: Any, gate: Any, order: Make) -> None:
    desk = open_desk(load=gate)
    id, other = (desk.submit([order()], client="test").id for _ in range(2))
    assert desk.preview(id) is None
    gate.let_pass(1)
    until(lambda: desk.job(id).progress.step == 1)
    shown = desk.preview(id)
    assert shown is not None and shown.size == (8, 8)
    assert desk.preview(other) is None
    gate.let_pass(3)
    desk.wait(other, PATIENCE)
    assert desk.preview(id) is None


def test_progress_tells_what_is_left(open_desk: Any, gate: Any, order: Make) -> None:
    desk = open_desk(load=gate)
    id = desk.submit([order(steps=4), order(steps=4)], client="test").id
    gate.let_pass(1)
    until(lambda: desk.job(id).progress.step == 1)
    progress = desk.job(id).progress
    assert (progress.picture, progress.pictures, progress.steps, progress.share) == (0, 2, 4, 0.125)
    assert progress.seconds_left is not None and progress.seconds_left > 0


def test_a_full_queue_says_when_to_come_back(open_desk: Any, gate: Any, order: Make) -> None:
    desk = open_desk(load=gate, most_waiting=2)
    first = desk.submit([order()], client="test").id
    until(lambda: desk.job(first).state == "drawing")
    for _ in range(2):
        desk.submit([order()], client="test")
    with pytest.raises(QueueFullError, match="2 jobs wait; try again in") as refused:
        desk.submit([order()], client="test")
    assert refused.value.retry_after >= 1
    assert len(desk.jobs()) == 3


def test_a_refused_job_gives_its_place_back(open_desk: Any, gate: Any, order: Make) -> None:
    desk = open_desk(load=gate, most_waiting=1)
    first = desk.submit([order()], client="test").id
    until(lambda: desk.job(first).state == "drawing")
    for _ in range(3):
        with pytest.raises(RequestError):
            desk.submit([order(width=63)], client="test")
    assert desk.submit([order()], client="test").place == 0


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"steps": 151}, "steps 151: must be at most 150"),
        ({"width": 4096, "height": 4096}, "4096x4096: is larger than"),
        ({"width": 1024, "height": 1024, "enlarge": "4"}, "4096x4096: is larger than"),
        ({"prompt": "x" * 20_001}, "prompt: 20,001 characters"),
        ({"model": "/etc/passwd"}, "is not among those listed"),
        ({"device": "cuda"}, "device: is chosen where the studio is started"),
        ({"wildcards": "/etc"}, "wildcards: is chosen where the studio is started"),
        ({"tiny-vae": "/etc/passwd"}, "tiny-vae: is chosen"),
        ({"init": "/etc/passwd"}, "init '/etc/passwd': names no picture that came with the request"),
        ({"mask": "alpha.png"}, "names no picture"),
        ({"control": ["canny:/etc/passwd"]}, "names no picture"),
        ({"control": [f"canny:/etc/attached-{'0' * 32}"]}, "names no picture"),
        ({"image-prompt": ["../x.png:0.5"]}, "names no picture"),
        ({"region": ["a fox@/etc/passwd"]}, "names no picture"),
        ({"init": f"attached-{'0' * 32}"}, "did not come with the request"),
        ({"upscaler": "/etc/passwd", "enlarge": "2"}, "upscaler '/etc/passwd': is not among those listed"),
        ({"lora": ["/etc/passwd:0.5"]}, "lora '/etc/passwd': is no name"),
        ({"prompt": "a fox <lora:../x.safetensors:1>"}, "lora '../x.safetensors': is no name"),
        ({"prompt": "a {fox <lora:/etc/x:1>|fox <lora:/etc/y:1>}"}, "is no name"),
        ({"seed": None}, "there is no seed"),
    ],
)
def test_what_may_not_be_asked_is_refused_in_one_line(
    desk: Desk, order: Make, values: dict[str, Any], said: str
) -> None:
    with pytest.raises(ValueError) as refused:
        desk.submit([order(**values)], client="test")
    assert said in str(refused.value)
    assert "\n" not in str(refused.value)
    assert desk.jobs() == ()
    assert not [*(desk.settings.state / "jobs").iterdir()]


def test_no_pictures_and_too_many_are_refused(desk: Desk, order: Make) -> None:
    for many in (0, desk.settings.most_pictures + 1):
        with pytest.raises(OrderError, match="must be 1 to 64 at once"):
            desk.submit([order()] * many, client="test")


@given(st.text(max_size=12))
def test_a_name_that_is_let_pass_stays_in_its_folder(name: str) -> None:
    try:
        check_plain_name("lora", name)
    except OrderError:
        return
    assert (Path("/folder") / name).parent == Path("/folder")
    assert name not in ("", ".", "..")


def test_pictures_that_come_with_a_request_are_drawn_from(desk: Desk, order: Make) -> None:
    red = picture()
    orders = [
        order(init=red.name, strength=0.6),
        order(control=[f"canny:{red.name}:0.5:0-0.6"]),
        order(region=[f"a fox@{picture('white').name}"]),
    ]
    job = desk.submit(orders, client="test", attachments=[red, picture("white")])
    job = desk.wait(job.id, PATIENCE)
    assert (job.state, job.error) == ("done", None)
    for drawn in job.drawn:
        with Image.open(drawn.path) as saved:
            assert str(desk.settings.state) not in str(saved.info)


def test_paths_of_this_machine_stay_out_of_errors_and_requests(desk: Desk, order: Make) -> None:
    broken = Attachment(b"no picture")
    with pytest.raises(RequestError) as refused:
        desk.submit([order(init=broken.name)], client="test", attachments=[broken])
    assert str(desk.settings.state) not in str(refused.value)
    folder = desk.settings.state
    (folder / picture().name).write_bytes(picture().data)
    asked = desk.asking.request(order(init=picture().name), folder)
    assert asked.picture is not None and PATH not in asked.picture.info


def test_what_fails_tells_its_asker_and_the_next_is_drawn(open_desk: Any, sketch: Any, order: Make) -> None:
    def load(choice: Any) -> Any:
        if choice.model == "sketch":
            return sketch
        raise ValueError("no such\nfile")

    models = open_desk().settings.pictures.parent / "models"
    models.mkdir()
    (models / "broken.safetensors").write_bytes(b"")
    desk = open_desk(load=load, models=(models,), state=models.parent / "other")
    failed = desk.submit([order(model="broken")], client="test").id
    done = desk.submit([order()], client="test").id
    job = desk.wait(failed, PATIENCE)
    assert (job.state, job.error) == ("failed", "ValueError: no such file")
    assert desk.wait(done, PATIENCE).state == "done"


def test_a_jobs_model_is_loaded_and_no_other_is_kept(open_desk: Any, sketch: Any, order: Make) -> None:
    loaded = list[str]()

    def load(choice: Any) -> Any:
        loaded.append(Path(choice.model).stem)
        return sketch

    models = open_desk().settings.pictures.parent / "models"
    models.mkdir()
    (models / "fox.safetensors").write_bytes(b"")
    desk = open_desk(load=load, models=(models,), state=models.parent / "other")
    assert [each.name for each in desk.models.known()] == ["sketch", "fox"]
    for name in ("sketch", "fox", "fox", None):
        desk.wait(desk.submit([order(model=name)], client="test").id, PATIENCE)
    assert loaded == ["sketch", "fox", "sketch"]
    assert desk.loaded == "sketch"
    desk.models.use("fox.safetensors")
    desk.wait(desk.submit([order()], client="test").id, PATIENCE)
    assert (loaded[-1], desk.loaded, desk.models.current) == ("fox", "fox", "fox")


def test_a_journal_that_cannot_be_written_ends_no_job(open_desk: Any, gate: Any, order: Make) -> None:
    desk = open_desk(load=gate)
    first, second = (desk.submit([order()], client="test").id for _ in range(2))
    shutil.rmtree(desk.settings.state / "jobs")
    gate.let_pass(4)
    assert [desk.wait(id, PATIENCE).state for id in (first, second)] == ["done", "done"]


def test_results_are_kept_for_the_stated_time_and_pictures_stay(open_desk: Any, order: Make) -> None:
    desk = open_desk(keep_results=0.0)
    first = desk.submit([order()], client="test").id
    path = desk.wait(first, PATIENCE).drawn[0].path
    until(lambda: desk.jobs() == ())
    for ask in (desk.job, desk.cancel, desk.skip, desk.preview, desk.wait, desk.watch):
        with pytest.raises(NoSuchJobError, match="results are kept for a while only"):
            ask(first)
    assert path.exists()
    until(lambda: not [*(desk.settings.state / "jobs").iterdir()])


def test_the_newest_results_are_kept_when_there_are_many(open_desk: Any, order: Make) -> None:
    desk = open_desk(most_results=2)
    ids = [desk.submit([order()], client="test").id for _ in range(4)]
    desk.wait(ids[-1], PATIENCE)
    until(lambda: len(desk.jobs()) == 2)
    assert [job.id for job in desk.jobs()] == [ids[3], ids[2]]


def test_waiting_ends_with_the_time_or_the_desk(open_desk: Any, gate: Any, order: Make) -> None:
    desk = open_desk(load=gate)
    id = desk.submit([order()], client="test").id
    assert not desk.wait(id, 0.01).is_over
    gate.let_pass(1000)
    desk.close()
    assert desk.wait(id).id == id


def test_watching_tells_every_state_that_a_reader_can_take_and_ends(
    open_desk: Any, gate: Any, order: Make
) -> None:
    desk = open_desk(load=gate)

    async def watch() -> list[Job]:
        seen = list[Job]()
        first, second = (desk.submit([order()], client="test").id for _ in range(2))
        with desk.watch(second) as watching:
            async for job in watching:
                # nothing moves before the first state was seen, and then the first job is let through
                gate.let_pass(1 if seen else 3)
                seen.append(job)
        return [*seen, desk.job(first)]

    *seen, other = asyncio.run(asyncio.wait_for(watch(), PATIENCE))
    assert seen[0].state == "waiting"
    assert seen[-1].state == "done"
    assert {job.id for job in seen} == {seen[0].id}
    assert [job.progress.picture for job in seen] == sorted(job.progress.picture for job in seen)
    assert other.state == "done"


def test_a_reader_who_sleeps_gets_the_newest_state_and_holds_nobody_up(desk: Desk, order: Make) -> None:
    async def watch() -> list[Job]:
        job = desk.submit([order(steps=8)], client="test")
        with desk.watch(job.id) as watching:
            await asyncio.to_thread(desk.wait, job.id, PATIENCE)
            return [job async for job in watching]

    assert [job.state for job in asyncio.run(asyncio.wait_for(watch(), PATIENCE))] == ["done"]


def test_watching_all_tells_of_new_jobs_and_ends_with_the_desk(open_desk: Any, order: Make) -> None:
    desk = open_desk()

    async def watch() -> set[str]:
        seen = dict[str, str]()
        ids = {desk.submit([order()], client="test").id}
        with desk.watch() as watching:
            async for job in watching:
                seen[job.id] = job.state
                if len(ids) < 3 and job.is_over:
                    ids.add(desk.submit([order()], client="test").id)
                if len(ids) == 3 and all(seen.get(id) == "done" for id in ids):
                    await asyncio.to_thread(desk.close)
        assert {*seen} == ids
        return {*seen.values()}

    assert asyncio.run(asyncio.wait_for(watch(), PATIENCE)) == {"done"}


def test_an_address_that_others_reach_demands_a_token() -> None:
    for host in ("127.0.0.1", "::1", "localhost", "127.1.2.3"):
        assert Settings(host=host).is_local
    for host in ("0.0.0.0", "192.168.1.2", "::", "studio.example"):
        with pytest.raises(SettingsError, match="give a --token"):
            Settings(host=host)
        assert not Settings(host=host, token="secret").is_local


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(st.sampled_from(["enter", "take", "cancel", "move", "end"]), st.integers(0, 9))))
def test_a_book_loses_no_job_and_keeps_places_in_a_row(doings: list[tuple[str, int]]) -> None:
    book, ids, drawing = Book(5, lambda told: None), list[str](), list[str]()
    for doing, number in doings:
        one = ids[number % len(ids)] if ids else None
        if doing == "enter":
            try:
                order = Order.read({"prompt": "x", "seed": number})
                ids.append(book.enter(book.reserve([order], "test", ())).id)
            except QueueFullError:
                assert len(book.waiting()) == 5
        elif doing == "take" and not drawing:
            drawing += [job.id] if (job := book.take(0.0)) else []
        elif doing == "cancel" and one:
            book.cancel(one)
        elif doing == "move" and one:
            book.move(one, number - 2)
        elif doing == "end" and drawing:
            book.end(drawing.pop(), "done")
    jobs = book.jobs()
    assert sorted(job.id for job in jobs) == sorted(ids)
    waiting = [job for job in jobs if job.state == "waiting"]
    assert [job.place for job in waiting] == [*range(len(waiting))]
    assert jobs[: len(waiting)] == tuple(waiting)
    assert [job.id for job in jobs if job.state == "drawing"] == drawing

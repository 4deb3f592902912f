"""What the page asks of the server as it is hearing that nothing is left to hear."""

from playwright.sync_api import expect
from visiting import Visit

HELD = """
const fetched = window.fetch
const CLOSE = /data: {[^\\n]*"close_stream"/
window.fetch = async (...asked) => {
    const answer = await fetched(...asked)
    if (!String(asked[0]?.url ?? asked[0]).includes("/queue/data")) return answer
    let about = ""
    const held = new TransformStream({
        async transform(chunk, out) {
            const text = new TextDecoder().decode(chunk)
            about += text
            const at = text.search(CLOSE)
            if (at < 0 || !about.includes("broken.safetensors: ")) return out.enqueue(chunk)
            out.enqueue(new TextEncoder().encode(text.slice(0, at)))
            await new Promise(done => { window.release = done })
            out.enqueue(new TextEncoder().encode(text.slice(at)))
        },
    })
    return new Response(answer.body.pipeThrough(held), answer)
}
"""
"""A slow page: once it has heard of a damaged file, it hears only when it is let that the stream is closed."""


def test_what_is_asked_for_before_the_page_has_heard_that_its_stream_is_closed_is_answered(
    visit: Visit,
) -> None:
    visit.context.add_init_script(HELD)
    visit.reopen()
    page, report = visit.page, visit.page.locator("#model-report textarea")
    visit.tab("Models")
    visit.choose("#one-model", "broken")
    page.click("#inspect-model")
    expect(report).to_have_value(visit.like("broken.safetensors: .*"))
    page.wait_for_function("window.release !== undefined")
    visit.choose("#one-model", "dream")
    with page.expect_request("**/queue/join*"):
        page.click("#inspect-model")
    page.wait_for_timeout(300)  # until the server has answered, if it does not wait
    page.evaluate("window.release()")
    expect(report).to_have_value(visit.like("dream.safetensors: .*unet"), timeout=10_000)

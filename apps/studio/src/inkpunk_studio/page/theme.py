"""How the page looks: ink on paper by day, neon on ink by night, in the fonts that the machine has."""

from gradio.themes.base import Base
from gradio.themes.utils.colors import Color
from gradio.themes.utils.fonts import Font

SYSTEM = [
    Font("ui-sans-serif"),
    Font("system-ui"),
    Font("-apple-system"),
    Font("Segoe UI"),
    Font("sans-serif"),
]
MONO = [Font("ui-monospace"), Font("SF Mono"), Font("Consolas"), Font("monospace")]
INK = Color(
    name="ink",
    c50="#f7f6f3",
    c100="#efede8",
    c200="#dedbd3",
    c300="#c3bfb5",
    c400="#9a968d",
    c500="#6c6963",
    c600="#514f4b",
    c700="#383739",
    c800="#232327",
    c900="#17171b",
    c950="#0e0e11",
)
NEON = Color(
    name="neon",
    c50="#fff0f5",
    c100="#ffdce8",
    c200="#ffb8d0",
    c300="#ff8db3",
    c400="#ff6196",
    c500="#e8356f",
    c600="#c81e57",
    c700="#a21545",
    c800="#7c1035",
    c900="#540b25",
    c950="#330616",
)


def theme() -> Base:
    """The page's theme; nothing of it is fetched from elsewhere."""
    base = Base(
        primary_hue=NEON, secondary_hue=NEON, neutral_hue=INK, font=SYSTEM, font_mono=MONO, radius_size="lg"
    )
    return base.set(  # pyright: ignore[reportUnknownMemberType]
        body_background_fill="*neutral_50",
        body_background_fill_dark="*neutral_950",
        body_text_color="*neutral_800",
        body_text_color_dark="*neutral_100",
        body_text_color_subdued="*neutral_600",
        body_text_color_subdued_dark="*neutral_300",
        block_background_fill="white",
        block_background_fill_dark="*neutral_900",
        block_border_width="0px",
        block_border_width_dark="0px",
        block_shadow="none",
        block_label_text_color="*neutral_600",
        block_label_text_color_dark="*neutral_300",
        block_title_text_color="*neutral_700",
        block_title_text_color_dark="*neutral_200",
        block_title_text_weight="500",
        block_info_text_color="*neutral_600",
        block_info_text_color_dark="*neutral_300",
        background_fill_primary="white",
        background_fill_primary_dark="*neutral_900",
        background_fill_secondary="*neutral_100",
        background_fill_secondary_dark="*neutral_900",
        border_color_primary="*neutral_200",
        border_color_primary_dark="*neutral_700",
        input_background_fill="*neutral_50",
        input_background_fill_dark="*neutral_800",
        input_border_color="*neutral_300",
        input_border_color_dark="*neutral_700",
        input_placeholder_color="*neutral_500",
        input_placeholder_color_dark="*neutral_400",
        input_shadow="none",
        button_primary_background_fill="*primary_600",
        button_primary_background_fill_hover="*primary_700",
        button_primary_background_fill_dark="*primary_600",
        button_primary_background_fill_hover_dark="*primary_500",
        button_primary_text_color="white",
        button_primary_text_color_dark="white",
        button_secondary_background_fill="*neutral_200",
        button_secondary_background_fill_dark="*neutral_800",
        button_secondary_text_color="*neutral_800",
        button_secondary_text_color_dark="*neutral_100",
    )

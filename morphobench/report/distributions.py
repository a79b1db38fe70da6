"""How much of the image cells, cytoplasm and nuclei occupy: vehicle, real and generated side by side."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes

from morphobench.features.objects import COMPARTMENTS
from morphobench.report.contents import TrackContents
from morphobench.report.drawing import GENERATED, INK, REAL, VEHICLE, Picture, blank, encode_figure

SOURCES = (("vehicle", VEHICLE), ("real", REAL), ("generated", GENERATED))


def area_violins(track: TrackContents, simulated: bool) -> Picture | None:
    """Violins of AreaOccupied in per cent of the image; None where no image has a measured area."""
    areas = {"vehicle": track.vehicle_area, "real": track.real_area, "generated": track.generated_area}
    figure = blank(3.9)
    panels = figure.subplots(1, len(COMPARTMENTS))
    medians, drawn = [], dict.fromkeys(areas, 0)
    for axes, compartment in zip(panels, COMPARTMENTS, strict=True):
        for place, (source, colour) in enumerate(SOURCES):
            percent = 100 * np.asarray(areas[source][compartment], dtype=float)
            percent = percent[np.isfinite(percent)]
            drawn[source] = max(drawn[source], len(percent))
            if len(percent):
                _violin(axes, percent, place, colour)
                medians.append(f"{source} {compartment} {np.median(percent):.1f}%")
        axes.set(title=compartment.capitalize(), xticks=range(len(SOURCES)), xlim=(-0.6, 2.6))
        axes.set_xticklabels([source for source, _ in SOURCES], rotation=35, ha="right", rotation_mode="anchor")
        axes.set_ylim(bottom=0)
        axes.yaxis.grid(True, color="#E8ECF0", linewidth=0.7)
        axes.set_axisbelow(True)
        axes.tick_params(length=0)
    panels[0].set_ylabel("area occupied, % of image")
    if not medians:
        return None
    counts = ", ".join(f"{count:,} {source}" for source, count in drawn.items())
    caption = (
        "A good model moves the orange off the grey and onto the blue. White dot: median; bar: middle half of the "
        f"images. {counts} images, all compounds and doses pooled."
    )
    return encode_figure(figure, simulated, f"AreaOccupied, {track.title}. Medians: {'; '.join(medians)}.", caption)


def area_by_compound(track: TrackContents, simulated: bool) -> Picture | None:
    """Mean area of cells per compound, generated against real, in per cent; None with fewer than two compounds."""
    real, made = (
        _means(areas["cells"], names)
        for areas, names in ((track.real_area, track.real_compounds), (track.generated_area, track.compounds))
    )
    shared = sorted(real.keys() & made.keys())
    if len(shared) < 2:
        return None
    x, y = np.array([real[name] for name in shared]), np.array([made[name] for name in shared])
    vehicle = float(np.nanmean(100 * track.vehicle_area["cells"])) if len(track.vehicle_area["cells"]) else np.nan
    ends = np.array([np.nanmin([*x, *y, vehicle]), np.nanmax([*x, *y, vehicle])]) + np.array([-3, 3])
    figure = blank(3.9)
    axes = figure.add_subplot(aspect="equal", xlim=ends, ylim=ends)
    axes.plot(ends, ends, color=REAL, linewidth=1.2)
    axes.axvline(vehicle, color=VEHICLE, linewidth=1, linestyle=":")
    axes.axhline(vehicle, color=VEHICLE, linewidth=1, linestyle="--")
    axes.scatter(x, y, s=26, color=GENERATED, alpha=0.8, linewidths=0)
    drugs = {column.compound for column in track.panel}
    for name, across, up in zip(shared, x, y, strict=True):
        if name in drugs:
            axes.annotate(name, (across, up), (5, 3), textcoords="offset points", fontsize=7)
    axes.set(xlabel="real, % of image", ylabel="generated, % of image", title="Cells, mean per compound")
    caption = (
        f"Each of {len(shared)} compounds is a dot. On the blue line the area moves as with the drug; on the dashed "
        f"grey line it always draws the vehicle's area ({vehicle:.0f}%); a flat cloud ignores the drug."
    )
    alt = f"Mean cell area of {len(shared)} compounds, generated against real, {track.title}: r = {_r(x, y)}."
    return encode_figure(figure, simulated, alt, caption)


def _means(values: np.ndarray, names: np.ndarray) -> dict[str, float]:
    """Mean in per cent of the finite values of each name."""
    finite = np.isfinite(values)
    return {str(name): 100 * float(values[finite & (names == name)].mean()) for name in np.unique(names[finite])}


def _r(x: np.ndarray, y: np.ndarray) -> str:
    return f"{np.corrcoef(x, y)[0, 1]:.2f}" if np.ptp(x) > 0 and np.ptp(y) > 0 else "undefined"


def _violin(axes: Axes, values: np.ndarray, place: int, colour: str) -> None:
    if np.ptp(values) > 1e-9:
        body = axes.violinplot([values], [place], widths=0.85, showextrema=False, bw_method="scott")["bodies"][0]  # type: ignore[index]
        body.set(facecolor=colour, edgecolor=colour, alpha=0.55)
    else:
        axes.plot([place - 0.35, place + 0.35], [values[0]] * 2, color=colour, linewidth=3, alpha=0.55)
    low, middle, high = np.quantile(values, [0.25, 0.5, 0.75])
    axes.plot([place, place], [low, high], color=INK, linewidth=3, solid_capstyle="round")
    axes.plot(place, middle, "o", color="white", markersize=3.5, zorder=3)

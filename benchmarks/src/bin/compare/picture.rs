//! Throughput and p99 of all systems as bars, one group for each workload and number of callers.

use anyhow::Result;
use plotters::coord::Shift;
use plotters::prelude::*;

use crate::report::{ECHO, HOLDFAST, POSTGRES, REDIS, Row};

/// Systems in a group, from the top down.
const SYSTEMS: [(&str, RGBColor); 4] = [
    (HOLDFAST, RGBColor(0xd5, 0x5e, 0x00)),
    (POSTGRES, RGBColor(0x00, 0x72, 0xb2)),
    (REDIS, RGBColor(0x00, 0x9e, 0x73)),
    (ECHO, RGBColor(0x99, 0x99, 0x99)),
];
const WIDTH: u32 = 1400;
const GROUP_HEIGHT: u32 = 44;
const MARGINS_HEIGHT: u32 = 130;
/// Heights on the vertical axis, of a group and of a bar. The rest of a group's height separates it from the
/// next one.
const GROUP: i32 = 20;
const BAR: i32 = 4;

/// The figure of a row that a bar shows.
type Figure = fn(&Row) -> f64;

/// Draws the picture as SVG. Bars are on logarithmic scales, because systems differ by orders of magnitude.
pub(crate) fn draw(rows: &[Row]) -> Result<String> {
    let groups = groups(rows);
    let height = MARGINS_HEIGHT + GROUP_HEIGHT * u32::try_from(groups.len())?;
    let mut svg = String::new();
    {
        let whole = SVGBackend::with_string(&mut svg, (WIDTH, height)).into_drawing_area();
        let (left, right) = whole.split_horizontally(WIDTH / 2);
        whole.fill(&WHITE)?;
        let per_second: Figure = |row| row.measured.per_second();
        panel(
            &left,
            "calls per second (longer is better)",
            rows,
            &groups,
            per_second,
            false,
        )?;
        let p99_ms: Figure = |row| row.measured.milliseconds(0.99);
        panel(
            &right,
            "p99 in ms (shorter is better)",
            rows,
            &groups,
            p99_ms,
            true,
        )?;
        whole.present()?;
    }
    Ok(svg)
}

/// Returns the workloads with their callers. Those of one workload are together; otherwise the order of
/// measurement stays.
fn groups(rows: &[Row]) -> Vec<String> {
    let mut workloads: Vec<(&str, Vec<String>)> = Vec::new();
    for row in rows {
        let known = workloads
            .iter()
            .position(|(workload, _)| *workload == row.workload);
        let known = known.unwrap_or_else(|| {
            workloads.push((&row.workload, Vec::new()));
            workloads.len() - 1
        });
        let (_, groups) = &mut workloads[known];
        let group = group(row);
        if !groups.contains(&group) {
            groups.push(group);
        }
    }
    workloads.into_iter().flat_map(|(_, groups)| groups).collect()
}

fn group(row: &Row) -> String {
    format!("{}, {}", row.workload, row.callers)
}

fn panel(
    area: &DrawingArea<SVGBackend<'_>, Shift>,
    title: &str,
    rows: &[Row],
    groups: &[String],
    figure: Figure,
    has_legend: bool,
) -> Result<()> {
    let shown = || rows.iter().map(figure).filter(|figure| *figure > 0.0);
    let smallest = shown().reduce(f64::min).unwrap_or(1.0);
    let largest = shown().reduce(f64::max).unwrap_or(1.0);
    // Groups are drawn from the top down, and the axis counts from below.
    let middle = |group: usize| (groups.len() - group) as i32 * GROUP - GROUP / 2;
    let middles: Vec<i32> = (0..groups.len()).map(middle).collect();
    let name_at = |at: &i32| {
        let group = middles.iter().position(|middle| middle == at);
        group.map_or(String::new(), |group| groups[group].clone())
    };
    let mut chart = ChartBuilder::on(area)
        .caption(title, ("sans-serif", 20))
        .margin(16)
        .x_label_area_size(36)
        .y_label_area_size(190)
        .build_cartesian_2d(
            (smallest / 2.0..largest * 2.0).log_scale(),
            (0..groups.len() as i32 * GROUP).with_key_points(middles.clone()),
        )?;
    chart
        .configure_mesh()
        .disable_y_mesh()
        .y_labels(groups.len())
        .y_label_formatter(&name_at)
        .x_labels(8)
        .x_label_formatter(&f64::to_string)
        .draw()?;
    let first_bar = SYSTEMS.len() as i32 * BAR / 2;
    for (place, (system, color)) in (0..).zip(SYSTEMS) {
        let bars = rows.iter().filter(|row| row.system == system).filter_map(|row| {
            let group = groups.iter().position(|name| *name == group(row))?;
            let top = middle(group) + first_bar - place * BAR;
            let corners = [(smallest / 2.0, top), (figure(row), top - BAR)];
            Some(Rectangle::new(corners, color.filled()))
        });
        chart
            .draw_series(bars)?
            .label(system)
            .legend(move |(x, y)| Rectangle::new([(x, y - 5), (x + 12, y + 5)], color.filled()));
    }
    if !has_legend {
        return Ok(());
    }
    chart
        .configure_series_labels()
        .position(SeriesLabelPosition::LowerRight)
        .background_style(WHITE.mix(0.8))
        .border_style(BLACK)
        .draw()?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::tests::made_up;

    #[test]
    fn every_measurement_is_a_bar_in_both_panels() {
        let report = made_up();
        let svg = draw(&report.rows).unwrap();
        let document = roxmltree::Document::parse(&svg).unwrap();
        assert!(document.root_element().has_tag_name("svg"));
        let (_, color) = SYSTEMS[0];
        let fill = format!("#{:02X}{:02X}{:02X}", color.0, color.1, color.2);
        let bars = document
            .descendants()
            .filter(|node| node.has_tag_name("rect") && node.attribute("fill") == Some(&fill));
        let rows = report.rows.iter().filter(|row| row.system == HOLDFAST).count();
        // The legend has one more.
        assert_eq!(bars.count(), 2 * rows + 1);
        for group in groups(&report.rows) {
            assert!(svg.contains(&group), "{group} has no name in the picture");
        }
    }

    #[test]
    fn nothing_measured_is_an_empty_picture() {
        let svg = draw(&[]).unwrap();
        assert!(roxmltree::Document::parse(&svg).is_ok());
    }
}

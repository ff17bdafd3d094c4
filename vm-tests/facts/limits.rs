//! How many layers there may be, by each way to hand them over, and how long names may be.

use std::fs;
use std::os::fd::AsRawFd;

use ovlctl::sys::dir::Dir;
use ovlctl::sys::script::How;

use crate::fact::{Done, Fact, Saw, Stop, each, fact};
use crate::scene::{By, Scene, Tree};

/// Bytes of options that mount(2) takes.
const PAGE: usize = ovlctl::sys::mount::OPTION_PAGE;

/// Mounts `count` lowers, and shows how many came, and whether the lowest is among them.
fn takes(s: &Scene, count: usize, by: By) -> Saw {
    s.many_lowers(count);
    let m = s.overlay("").by(by).mount()?;
    each([s.layers_shown(), m.kind(&format!("f{}", count - 1))])
}

/// Lower directories whose names, joined by colons, take exactly `bytes`.
fn lowers_of(s: &Scene, bytes: usize) -> Vec<String> {
    const EACH: usize = 100;
    let mut names = Vec::new();
    let mut left = bytes;
    while left > 0 {
        let len = if left > 2 * EACH { EACH } else { left };
        names.push(format!("{:x<len$}", format!("{:03}", names.len())));
        left = left.saturating_sub(len + 1);
    }
    for name in &names {
        s.dir_named(name).file(&format!("f{}", &name[..3]), "");
    }
    names
}

/// Mounts from inside /proc/self/fd, where a layer's name is the number of its handle.
fn by_numbers(s: &Scene, count: usize) -> Result<Tree, Stop> {
    s.many_lowers(count);
    let open = |nr| Dir::open(format!("{nr}").as_ref());
    let layers = (0..count).map(open).collect::<Result<Vec<_>, _>>()?;
    let numbers: Vec<_> =
        layers.iter().map(|layer| rustix::fd::AsFd::as_fd(layer).as_raw_fd().to_string()).collect();
    let here = s.dir().display().to_string();
    let numbers: Vec<_> = numbers.iter().map(String::as_str).collect();
    let (upper, work) = (format!("{here}/upper"), format!("{here}/work"));
    let overlay = s.overlay("").lowers(&numbers).upper(&upper, &work).at(&format!("{here}/m"));
    std::env::set_current_dir("/proc/thread-self/fd")?;
    let made = overlay.mount();
    std::env::set_current_dir(here)?;
    made?;
    Ok(Tree::at("m"))
}

pub(super) const FACTS: &[Fact] = &[
    fact("limits::one_lower_without_upper", |s| {
        s.lower();
        s.overlay("").read_only().mount().done()
    })
    .sees("EINVAL"),
    fact("limits::an_empty_lower_beside_it_makes_it_two", |s| {
        s.lower().file("f", "");
        s.dir_named("empty");
        s.overlay("").lowers(&["lower", "empty"]).read_only().mount()?.names("")
    })
    .sees("f")
    .relied_on(),
    fact("limits::page_takes_500_layers", |s| takes(s, 500, By::Page)).sees("500 layers, file"),
    fact("limits::page_refuses_501_layers", |s| takes(s, 501, By::Page))
        .sees("ENOMEM")
        .since("5.11", "EINVAL"),
    fact("limits::page_takes_128_links_of_docker", |s| {
        let l = s.dir_named("l");
        let mut names = Vec::new();
        for nr in 0..128 {
            s.dir_named(&format!("{nr}/diff")).file(&format!("f{nr}"), "");
            l.symlink(&format!("{nr:026}"), &format!("../{nr}/diff"));
            names.push(format!("l/{nr:026}"));
        }
        let names: Vec<_> = names.iter().map(String::as_str).collect();
        let m = s.overlay("").lowers(&names).mount()?;
        each([s.layers_shown(), m.kind("f127")])
    })
    .sees("128 layers, file")
    .relied_on(),
    fact("limits::numbers_of_handles_take_500_layers", |s| {
        let m = by_numbers(s, 500)?;
        each([s.layers_shown(), m.kind("f499")])
    })
    .sees("500 layers, file")
    .relied_on(),
    fact("limits::strings_take_500_layers", |s| takes(s, 500, By::Strings))
        .sees("EINVAL")
        .since("6.7", "500 layers, file")
        .relied_on(),
    fact("limits::strings_refuse_501_layers", |s| takes(s, 501, By::Strings)).sees("EINVAL"),
    fact("limits::handles_take_500_layers", |s| takes(s, 500, By::Handles(How::Read)))
        .sees("EOPNOTSUPP")
        .since("6.5", "EINVAL")
        .since("6.13", "500 layers, file")
        .relied_on(),
    fact("limits::handles_refuse_501_layers", |s| takes(s, 501, By::Handles(How::Read)))
        .sees("EOPNOTSUPP")
        .since("6.5", "EINVAL"),
    fact("limits::handles_that_only_name_take_2_layers", |s| takes(s, 2, By::Handles(How::Path)))
        .sees("EOPNOTSUPP")
        .since("6.5", "EBADF")
        .since("6.15", "2 layers, file"),
    fact("limits::page_is_4095_bytes", |s| {
        let options = "upperdir=upper,workdir=work,lowerdir=";
        let lowers = lowers_of(s, PAGE - options.len());
        s.mount_page(&format!("{options}{}", lowers.join(":")))?;
        Ok(if s.layers_shown()? == format!("{} layers", lowers.len()) { "all layers" } else { "fewer" }
            .to_owned())
    })
    .sees("all layers")
    .relied_on(),
    fact("limits::longer_page_loses_layers_without_a_word", |s| {
        let options = "upperdir=upper,workdir=work,lowerdir=";
        let lowers = lowers_of(s, PAGE - options.len());
        s.dir_named("last").file("f", "");
        let m = s.mount_page(&format!("{options}{}:last", lowers.join(":")))?;
        m.kind("f")
    })
    .sees("ENOENT"),
    fact("limits::longer_page_loses_upper_without_a_word", |s| {
        let lowers = lowers_of(s, PAGE - "lowerdir=".len());
        let m = s.mount_page(&format!("lowerdir={},upperdir=upper,workdir=work", lowers.join(":")))?;
        each([s.shows(&["upperdir", "workdir"]), m.create("f")])
    })
    .sees("none, EROFS"),
    fact("limits::page_that_is_cut_inside_an_option", |s| {
        let lowers = lowers_of(s, PAGE - "lowerdir=,upperdir=upper,work".len());
        s.mount_page(&format!("lowerdir={},upperdir=upper,workdir=work", lowers.join(":"))).done()
    })
    .sees("EINVAL"),
    fact("limits::fsconfig_takes_a_string_of_255_bytes", |s| {
        s.lower().file("f", "");
        let name = format!("{}lower", "./".repeat(125));
        s.overlay("").lowers(&[&name]).by(By::Strings).mount()?.kind("f")
    })
    .sees("EINVAL")
    .since("6.7", "file")
    .relied_on(),
    fact("limits::fsconfig_refuses_a_string_of_256_bytes", |s| {
        s.lower();
        let name = format!("{}/lower", "./".repeat(125));
        s.overlay("").lowers(&[&name]).by(By::Strings).mount().done()
    })
    .sees("EINVAL"),
    fact("limits::page_takes_layers_one_by_one_too", |s| {
        let [top, base] = s.lowers(["top", "base"]);
        top.file("a", "");
        base.file("b", "");
        s.overlay("lowerdir+=top,lowerdir+=base").lowers(&[]).mount()?.names("")
    })
    .sees("EINVAL")
    .since("6.7", "a b"),
    fact("limits::name_of_a_lower_may_have_3900_bytes", |s| {
        let deep = vec!["x".repeat(194); 20].join("/");
        s.dir_named(&deep).file("f", "");
        s.overlay("").lowers(&[&deep]).mount()?.kind("f")
    })
    .sees("file"),
    fact("limits::names_have_255_bytes", |s| {
        let (lower, longest) = (s.lower(), "x".repeat(255));
        lower.file(&longest, "text");
        let m = s.mounted("");
        m.append(&longest, " more")?;
        let read = m.read(&longest);
        m.unlink(&longest)?;
        each([read, s.upper().kind(&longest), m.create(&"x".repeat(256))])
    })
    .sees("text more, whiteout, ENAMETOOLONG"),
    fact("limits::redirect_has_256_bytes", |s| {
        let (long, lower) = ("x".repeat(200), s.lower());
        lower.dir(&format!("{long}/{long}/d")).dir("to");
        let m = s.mounted("redirect_dir=on");
        m.rename(&format!("{long}/{long}/d"), "to/d")
    })
    .sees("EXDEV"),
    fact("limits::symlink_target_of_1000_bytes_is_copied_up", |s| {
        let target = "x".repeat(1000);
        s.lower().symlink("link", &target);
        let m = s.mounted("");
        m.chown("link", 7, 8)?;
        crate::fact::same(s.upper().read_link("link")?, target)
    })
    .sees("same"),
    fact("limits::directories_may_be_100_deep", |s| {
        let deep = vec!["d"; 100].join("/");
        s.lower().dir(&deep);
        s.mounted("").create(&format!("{deep}/f"))?;
        fs::metadata(s.upper().path(&format!("{deep}/f"))).done()
    })
    .sees("ok"),
];

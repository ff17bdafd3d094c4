//! `inspect`: all that is known, in the words of `docker image inspect` and `docker inspect`.

use clap::Args;
use serde::Serialize;
use serde_json::Value;

use super::act::{Act, Around};
use super::fault::Fault;
use super::{Context, print};
use crate::digest::Digest;
use crate::mount;
use crate::mount::container::Mounted;
use crate::store::images::Image;
use crate::store::layout::{DIFF, MERGED, WORK};
use crate::store::record::{ContainerRecord, ImageRecord};
use crate::store::{Error, Store};

/// Tell all about images and containers, as JSON
///
/// The fields are those of `docker image inspect` and `docker inspect`, so that scripts written for them work.
#[derive(Debug, Args)]
#[command(after_long_help = "\
Examples:
  ovlctl inspect web:1.4
  ovlctl inspect web-1.4 | jq '.[0].GraphDriver.Data.UpperDir'")]
pub(super) struct Inspect {
    /// Names or ids
    #[arg(required = true, value_name = "IMAGE|CONTAINER")]
    names: Vec<String>,
}

/// An image, in Docker's words.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct ImageFacts {
    id: Digest,
    repo_tags: Vec<String>,
    repo_digests: Vec<String>,
    /// Docker has it of images that it made itself.
    parent: &'static str,
    comment: String,
    created: Option<String>,
    container: String,
    container_config: Value,
    docker_version: String,
    author: String,
    architecture: Value,
    #[serde(skip_serializing_if = "Value::is_null")]
    variant: Value,
    os: Value,
    size: u64,
    virtual_size: u64,
    config: Value,
    graph_driver: GraphDriver,
    #[serde(rename = "RootFS")]
    root_fs: RootFs,
    metadata: Metadata,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct RootFs {
    r#type: &'static str,
    layers: Vec<Digest>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct Metadata {
    last_tag_time: String,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct GraphDriver {
    name: &'static str,
    data: GraphData,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct GraphData {
    #[serde(skip_serializing_if = "Option::is_none")]
    lower_dir: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    merged_dir: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    upper_dir: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    work_dir: Option<String>,
}

/// A container, in Docker's words as far as they go.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct ContainerFacts {
    id: String,
    created: String,
    name: String,
    state: State,
    image: Digest,
    driver: &'static str,
    platform: &'static str,
    graph_driver: GraphDriver,
    config: ContainerConfig,
    mount_options: Vec<String>,
    auto_remove: bool,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct State {
    status: &'static str,
    target: Option<String>,
    read_only: Option<bool>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct ContainerConfig {
    image: String,
}

impl Act for Inspect {
    fn names(&mut self) -> Vec<&mut String> {
        self.names.iter_mut().collect()
    }

    fn around(&self) -> Around {
        Around::READING
    }

    fn run(&self, context: &Context) -> Result<(), Fault> {
        let store = context.store()?;
        let facts: Result<Vec<Value>, Fault> = self.names.iter().map(|name| facts(&store, name)).collect();
        print::json(&facts?)
    }
}

fn facts(store: &Store, name: &str) -> Result<Value, Fault> {
    let failed = |e| Fault::new("inspect", format!("'{name}'"), e);
    if let Some(container) = store.container(name).map_err(failed)? {
        let mounted =
            mount::container::mounts(store).map_err(|e| Fault::new("inspect", format!("'{name}'"), e))?;
        let mounted = mounted.into_iter().find(|mount| mount.id == container.id);
        return Ok(value(&container_facts(store, &container, mounted.as_ref()).map_err(failed)?));
    }
    let image = store.image_else(name).map_err(failed)?;
    Ok(value(&image_facts(store, image).map_err(failed)?))
}

fn value<T: Serialize>(facts: &T) -> Value {
    serde_json::to_value(facts).expect("facts hold only what JSON can say")
}

fn image_facts(store: &Store, image: Image) -> Result<ImageFacts, Error> {
    let Image { record, names } = image;
    let config: Value = serde_json::from_slice(&store.image_config(&record.id)?).unwrap_or_default();
    let field = |key: &str| config.get(key).cloned().unwrap_or_default();
    let text = |key: &str| config.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
    let digests = |manifest: Digest| {
        let repository =
            |name: &String| name.rsplit_once(':').map_or(name.clone(), |(repo, _)| repo.to_owned());
        let mut all: Vec<String> =
            names.iter().map(|name| format!("{}@{manifest}", repository(name))).collect();
        all.dedup();
        all
    };
    Ok(ImageFacts {
        id: record.id,
        repo_digests: record.manifest.map(digests).unwrap_or_default(),
        repo_tags: names,
        created: record.created.clone(),
        parent: "",
        comment: comment(&config),
        container: text("container"),
        container_config: run_config(&field("container_config")),
        docker_version: text("docker_version"),
        author: text("author"),
        architecture: field("architecture"),
        variant: field("variant"),
        os: field("os"),
        size: record.size(),
        virtual_size: record.size(),
        // Docker says `null` of an image that has none.
        config: config.get("config").filter(|run| !run.is_null()).map_or(Value::Null, run_config),
        graph_driver: GraphDriver { name: "overlay2", data: image_data(store, &record)? },
        root_fs: RootFs {
            r#type: "layers",
            layers: record.layers.iter().map(|layer| layer.diff_id).collect(),
        },
        metadata: Metadata { last_tag_time: record.loaded },
    })
}

/// Returns what an image's maker says of it: where it says nothing, Docker takes what is said of the last step.
fn comment(config: &Value) -> String {
    let of = |told: &Value| told.get("comment").and_then(Value::as_str).unwrap_or_default().to_owned();
    let own = of(config);
    let last = || config.get("history")?.as_array()?.last().map(of);
    if own.is_empty() { last().unwrap_or_default() } else { own }
}

/// Fills in what a config leaves out, as Docker does: scripts look for these (`container.Config` in moby's api/types/container).
fn run_config(config: &Value) -> Value {
    let mut whole = serde_json::Map::new();
    for name in ["Hostname", "Domainname", "User", "Image", "WorkingDir"] {
        whole.insert(name.to_owned(), Value::String(String::new()));
    }
    for name in ["AttachStdin", "AttachStdout", "AttachStderr", "Tty", "OpenStdin", "StdinOnce"] {
        whole.insert(name.to_owned(), Value::Bool(false));
    }
    for name in ["Env", "Cmd", "Volumes", "Entrypoint", "OnBuild", "Labels"] {
        whole.insert(name.to_owned(), Value::Null);
    }
    whole.extend(config.as_object().cloned().unwrap_or_default());
    Value::Object(whole)
}

/// Docker's picture of an image: its uppermost layer as the upper directory, the others as the lower ones.
fn image_data(store: &Store, image: &ImageRecord) -> Result<GraphData, Error> {
    let dir = |layer: &crate::store::record::ImageLayer| store.layout().overlay(&layer.chain_id.hex());
    let mut stack = image.layers.iter().rev().map(dir);
    let top = stack.next();
    let lower: Vec<String> = stack.map(|dir| dir.join(DIFF).display().to_string()).collect();
    let of_top = |name: &str| top.as_ref().map(|dir| dir.join(name).display().to_string());
    Ok(GraphData {
        lower_dir: (!lower.is_empty()).then(|| lower.join(":")),
        merged_dir: of_top(MERGED),
        upper_dir: of_top(DIFF),
        work_dir: of_top(WORK),
    })
}

fn container_facts(
    store: &Store,
    container: &ContainerRecord,
    mounted: Option<&Mounted>,
) -> Result<ContainerFacts, Error> {
    let image = store.image_record(&container.image)?.map(|image| image.up_to(container.at_layer));
    let snapshots = store.stands_on(container)?.into_iter().map(|snapshot| snapshot.id);
    let layers = image.iter().flat_map(|image| image.layers.iter().rev()).map(|layer| layer.chain_id.hex());
    let below: Vec<String> = snapshots
        .chain(layers)
        .map(|id| store.layout().overlay(&id).join(DIFF).display().to_string())
        .collect();
    let (upper, work) = store.upper_and_work(container).unzip();
    let target = mounted.map(|mount| mount.target.clone());
    let merged = target.clone().unwrap_or_else(|| store.merged(container));
    Ok(ContainerFacts {
        id: container.id.clone(),
        created: container.created.clone(),
        name: format!("/{}", container.name),
        state: State {
            status: if mounted.is_some() { "mounted" } else { "unmounted" },
            target: target.map(|target| target.display().to_string()),
            read_only: mounted.map(|mount| mount.read_only),
        },
        image: container.image,
        driver: "overlay2",
        platform: "linux",
        graph_driver: GraphDriver {
            name: "overlay2",
            data: GraphData {
                lower_dir: Some(below.join(":")),
                merged_dir: Some(merged.display().to_string()),
                upper_dir: upper.map(|path| path.display().to_string()),
                work_dir: work.map(|path| path.display().to_string()),
            },
        },
        config: ContainerConfig {
            image: container.image_name.clone().unwrap_or_else(|| container.image.to_string()),
        },
        mount_options: container.options.clone(),
        auto_remove: container.remove,
    })
}

//! Finds cuBLAS. cudarc opens libraries by name only, which misses the ones that pip installs: those are opened here by
//! their path first, and then the name finds what is open already. Of cuBLAS we use its library cublasLt alone.
use super::detect;
use crate::{Error, Result};
use cudarc::cublaslt::sys;
use libloading::Library;
use std::path::{Path, PathBuf};
use std::{env, fmt, fs};

/// Every symbol of cublasLt that we call: tests/standin/driver.rs holds us to it.
#[rustfmt::skip]
pub const CUBLAS: &[&str] = &[
    "cublasLtCreate", "cublasLtDestroy", "cublasLtGetVersion", "cublasLtMatmul", "cublasLtMatmulAlgoGetHeuristic",
    "cublasLtMatmulDescCreate", "cublasLtMatmulDescDestroy", "cublasLtMatmulDescSetAttribute",
    "cublasLtMatmulPreferenceCreate", "cublasLtMatmulPreferenceDestroy", "cublasLtMatmulPreferenceSetAttribute",
    "cublasLtMatrixLayoutCreate", "cublasLtMatrixLayoutDestroy",
];

/// Its names for CUDA 13 and for CUDA 12, which are among those that cudarc tries.
const NAMES: [&str; 2] =
    if cfg!(windows) { ["cublasLt64_13.dll", "cublasLt64_12.dll"] } else { ["libcublasLt.so.13", "libcublasLt.so.12"] };
/// Its folders among the packages of a Python: of wheels for CUDA 13, for CUDA 12, and on Windows what PyTorch brings along.
const OF_PACKAGES: &[&str] = match cfg!(windows) {
    true => &["nvidia/cu13/bin/x86_64", "nvidia/cublas/bin", "torch/lib"],
    false => &["nvidia/cu13/lib", "nvidia/cublas/lib"],
};
/// Its folders in a CUDA toolkit.
const OF_TOOLKIT: &[&str] =
    if cfg!(windows) { &["bin/x64", "bin"] } else { &["lib64", "targets/x86_64-linux/lib", "lib"] };
/// Folders to look in before all others, as PATH lists them.
const FOLDERS: &str = "VAE_GPU_CUDA_LIBS";

/// The cublasLt that products run on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cublas {
    /// 130100 is 13.1.
    pub version: usize,
    /// The file, where the system tells.
    pub path: Option<PathBuf>,
}

impl Cublas {
    /// `13.1.0`
    pub fn number(&self) -> String {
        let v = self.version;
        format!("{}.{}.{}", v / 10000, v % 10000 / 100, v % 100)
    }
}

impl fmt::Display for Cublas {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "{}", self.number())?;
        self.path.as_ref().map_or(Ok(()), |path| write!(f, " ({})", path.display()))
    }
}

/// Opens cublasLt for a driver of this CUDA version, and asks for every symbol that we call.
pub fn cublas(driver: i32) -> Result<Cublas> {
    let (names, wheel): (&[&str], _) = match driver {
        // The library of a major version needs a driver of that version.
        13000.. => (&NAMES, "nvidia-cublas"),
        _ => (&NAMES[1..], "nvidia-cublas-cu12"),
    };
    let named = folders_named();
    // First the folders that the user names, then the loader's (LD_LIBRARY_PATH, ldconfig), then the usual ones.
    let found = in_folders(&named, names) || names.iter().any(|name| open(Path::new(name)));
    let _ = found || in_folders(&folders_usual(), names);
    // SAFETY: opening a library runs its initialisers; we trust NVIDIA's, as every program with cuBLAS does.
    if !unsafe { sys::is_culib_present() } {
        let names = names.join(" or ");
        return Err(Error::failed(format!(
            "no cuBLAS ({names} was not found): pip install {wheel}, or name its folder in {FOLDERS}"
        )));
    }
    // SAFETY: the line above has seen the library, so this opens it and does not panic.
    let library = unsafe { sys::culib() };
    // SAFETY: looked up, not called.
    let missing = |name: &&&str| unsafe { library.get::<unsafe extern "C" fn()>(name.as_bytes()) }.is_err();
    if let Some(name) = CUBLAS.iter().find(missing) {
        return Err(Error::failed(format!("cuBLAS has no {name}: pip install {wheel}")));
    }
    // SAFETY: it takes nothing, and was found above.
    let version = unsafe { sys::cublasLtGetVersion() };
    let major = version / 10000;
    if major < 12 || major as i32 > detect::version_pair(driver).0 {
        let (speaks, minor) = detect::version_pair(driver);
        return Err(Error::failed(format!(
            "cuBLAS {major} does not go with a driver that speaks CUDA {speaks}.{minor}: pip install {wheel}, and \
             name its folder in {FOLDERS}"
        )));
    }
    Ok(Cublas { version, path: mapped("libcublasLt") })
}

fn folders_named() -> Vec<PathBuf> {
    env::var_os(FOLDERS).map(|folders| env::split_paths(&folders).collect()).unwrap_or_default()
}

/// Beside the program, in Python environments that are active or on PATH, in CUDA toolkits. No Python is run.
fn folders_usual() -> Vec<PathBuf> {
    let mut folders = Vec::new();
    if let Some(here) = env::current_exe().ok().as_deref().and_then(Path::parent) {
        folders.extend([here.join("cuda-libs"), here.join("../lib")]);
    }
    let mut roots: Vec<PathBuf> =
        ["VIRTUAL_ENV", "CONDA_PREFIX"].iter().filter_map(env::var_os).map(PathBuf::from).collect();
    for bin in env::var_os("PATH").iter().flat_map(env::split_paths) {
        if cfg!(windows) {
            // Beside the interpreter, or above it in an environment.
            let root = if bin.ends_with("Scripts") { bin.parent() } else { Some(&*bin) };
            roots.extend(root.filter(|root| root.join("Lib").exists()).map(Path::to_path_buf));
            continue;
        }
        // bin/python3 may be a link to an environment's, and that one a link to the interpreter: each has libraries.
        let mut python = bin.join("python3");
        for _ in 0..8 {
            if python.exists() {
                roots.extend(python.parent().and_then(Path::parent).map(Path::to_path_buf));
            }
            match fs::read_link(&python) {
                Ok(to) => python = python.parent().unwrap_or(Path::new("/")).join(to),
                Err(_) => break,
            }
        }
    }
    // A user's own: of Linux, and of Windows.
    roots.extend(env::var_os("HOME").map(|home| Path::new(&home).join(".local")));
    let own = env::var_os("APPDATA").map(|data| Path::new(&data).join("Python"));
    roots.extend(own.into_iter().flat_map(|own| sorted(&own)));
    folders.extend(roots.iter().flat_map(|root| packages(root)).flat_map(|packages| below(&packages, OF_PACKAGES)));
    let toolkits = ["CUDA_HOME", "CUDA_PATH"].iter().filter_map(env::var_os);
    folders.extend(toolkits.flat_map(|root| below(Path::new(&root), OF_TOOLKIT)));
    if cfg!(unix) {
        folders.push("/usr/local/cuda/lib64".into());
    }
    folders
}

/// These places below a folder, in the system's way to write a path: the loader of Windows takes no other.
fn below(folder: &Path, places: &[&str]) -> Vec<PathBuf> {
    places.iter().map(|place| folder.join(place.split('/').collect::<PathBuf>())).collect()
}

/// Where a Python below `root` has its packages.
fn packages(root: &Path) -> Vec<PathBuf> {
    if cfg!(windows) {
        return below(root, &["Lib/site-packages", "site-packages"]);
    }
    let of = |python: &PathBuf| ["site-packages", "dist-packages"].map(|packages| python.join(packages));
    sorted(&root.join("lib")).iter().flat_map(of).collect()
}

/// What is in a folder, by name.
fn sorted(folder: &Path) -> Vec<PathBuf> {
    let mut paths: Vec<PathBuf> =
        fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path()).collect();
    paths.sort();
    paths
}

/// Whether one of the folders has one of the names, best name first.
fn in_folders(folders: &[PathBuf], names: &[&str]) -> bool {
    let files = names.iter().flat_map(|name| folders.iter().map(move |folder| folder.join(name)));
    files.filter(|file| file.exists()).any(|file| open(&file))
}

/// Opens a library and never closes it, so that whoever asks for its name next gets this one.
fn open(file: &Path) -> bool {
    // SAFETY: opening a library runs its initialisers; we trust NVIDIA's, as every program with cuBLAS does.
    let library = unsafe { Library::new(file) };
    library.map(std::mem::forget).is_ok()
}

/// The file that this process has mapped whose name contains `part`.
fn mapped(part: &str) -> Option<PathBuf> {
    let maps = fs::read_to_string("/proc/self/maps").ok()?;
    let files = maps.lines().filter_map(|line| line.find('/').map(|at| &line[at..]));
    files.filter(|file| file.rsplit('/').next().is_some_and(|name| name.contains(part))).map(PathBuf::from).next()
}

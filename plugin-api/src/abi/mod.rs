//! The boundary between the daemon and a library: the only module that names `abi_stable` and
//! `async_ffi`.
//!
//! - `interface`: the types that cross. Append-only; each file says how.
//! - `plugin`: the library's side. Erases an author's [`Backend`](crate::Backend) and guards
//!   every entry, poll and drop against panics.
//! - `connection`: terminals that the daemon gives a library.
//! - [`host`]: the daemon's side. Checks a library's header and wraps what it exports in
//!   ordinary Rust types.
//!
//! Data that may grow crosses as JSON in a string; only bytes and numbers cross as such.

// `#[derive(StableAbi)]` of abi_stable 0.11.3 expands to these on current compilers.
#![allow(missing_docs, non_camel_case_types, non_local_definitions)]
#![allow(clippy::used_underscore_items, unused_qualifications)]

mod calls;
mod connection;
pub mod host;
mod interface;
mod plugin;

pub use interface::HostModule as Header;
pub(crate) use plugin::RemoteReceiver;

#[doc(hidden)]
pub mod __private {
    pub use super::interface::BackendModule_Ref;
    pub use super::plugin::root_module;
    pub use abi_stable::library::{
        __call_root_module_loader, CheckTypeLayout, LibHeader, RootModuleResult,
    };
}

/// Makes this `cdylib` a backend: exports the given [`Backend`](crate::Backend) to the daemon.
/// Use it once, at the top level.
#[macro_export]
macro_rules! export_backend {
    ($backend:ty) => {
        // What `abi_stable::export_root_module` makes, with paths that need no dependency on it.
        // SAFETY: the symbol's name belongs to abi_stable, and no other item of a library has it.
        #[unsafe(no_mangle)]
        #[doc(hidden)]
        #[allow(non_upper_case_globals, clippy::undocumented_unsafe_blocks)]
        pub static _1as_0lib_1header_0root_bmodule_bloader: $crate::abi::__private::LibHeader = {
            extern "C" fn constructor() -> $crate::abi::__private::RootModuleResult {
                $crate::abi::__private::__call_root_module_loader(
                    $crate::abi::__private::root_module::<$backend>,
                )
            }
            // SAFETY: the constructor returns a `BackendModule_Ref`, as the type says.
            unsafe {
                $crate::abi::__private::LibHeader::from_constructor::<
                    $crate::abi::__private::BackendModule_Ref,
                >(constructor, $crate::abi::__private::CheckTypeLayout::Yes)
            }
        };
    };
}

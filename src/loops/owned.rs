//! Objects that services and queries own: applied, taken away, and left alone where the name is somebody else's.

use jiff::SignedDuration;
use kube::ResourceExt;

use crate::{
    cluster::{
        cache::Cache,
        error::Error,
        perform::{Writable, Writer},
    },
    core::name::Key,
    render::Owner,
};

/// An object that is in the way is looked at this often: nothing tells when it goes.
pub(crate) const LOOK_AGAIN: SignedDuration = SignedDuration::from_secs(30);

/// Has an object be as it should.
pub(crate) async fn apply<K: Writable + Send + Sync + 'static>(
    writer: &Writer,
    object: &K,
    cache: &Cache<K>,
    owner: &Owner,
) -> Result<(), Error> {
    let present = cache.get(&Key::new(&owner.namespace, object.name_any()));
    let applied = match writer.apply(object, present.as_deref(), owner).await {
        Err(error @ Error::NameTaken { .. }) => {
            // it does not carry our label, so no watch brings it: the next look sees it and says so in the status
            if let Some(mut found) = writer.read::<K>(&owner.namespace, &object.name_any()).await? {
                found.managed_fields_mut().clear();
                cache.wrote(found);
            }
            return Err(error);
        }
        applied => applied?,
    };
    if let Some(mut written) = applied {
        written.managed_fields_mut().clear();
        cache.wrote(written);
    }
    Ok(())
}

/// An object of our name that belongs to somebody else is not watched: it is read again at each look. Whether it is there.
pub(crate) async fn look_again<K: Writable + Send + Sync + 'static>(
    writer: &Writer,
    key: &Key,
    cache: &Cache<K>,
    owner: &Owner,
) -> Result<bool, Error> {
    if cache.get(key).is_none_or(|present| owner.controls(present.meta())) {
        return Ok(false);
    }
    match writer.read::<K>(&key.namespace, &key.name).await? {
        Some(mut found) => {
            found.managed_fields_mut().clear();
            let foreign = !owner.controls(found.meta());
            cache.wrote(found);
            Ok(foreign)
        }
        None => {
            cache.gone(key);
            Ok(false)
        }
    }
}

/// Takes an object away.
pub(crate) async fn remove<K: Writable + Send + Sync + 'static>(
    writer: &Writer,
    key: &Key,
    cache: &Cache<K>,
) -> Result<(), Error> {
    match cache.get(key) {
        Some(object) => writer.delete(object.as_ref()).await,
        None => Ok(()),
    }
}

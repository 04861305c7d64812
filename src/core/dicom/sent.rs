//! What medley sends, as bytes.

use dicom_ul::pdu::{
    AssociationRQ, PDataValue, PDataValueType, Pdu as Known, PresentationContextProposed, UserVariableItem, write_pdu,
};

use super::{
    Titles, VERIFICATION,
    association::Ask,
    contexts::{CONTEXT, IMPLICIT, USUAL},
};

/// DICOM's application context (PS3.7 annex A.2.1).
pub(super) const APPLICATION_CONTEXT: &str = "1.2.840.10008.3.1.1.1";
/// Longest P-DATA that medley asks for and sends, in bytes.
pub(super) const MAX_LENGTH: u32 = 16384;
/// Names the implementation (PS3.7 annex D.3.3.2); made from a UUID (PS3.5 annex B.2).
pub(super) const IMPLEMENTATION: &str = "2.25.156817478632171901559907589064364819511";
/// Its version; 16 characters at most.
pub(super) const VERSION: &str = concat!("MEDLEY_", env!("CARGO_PKG_VERSION"));

/// A-ASSOCIATE-RQ with the SOP class of what is asked, and what is proposed besides.
pub(super) fn request(titles: &Titles, ask: &Ask) -> Known {
    let context = |id: u8, class: &str, syntaxes: &[&str]| PresentationContextProposed {
        id,
        abstract_syntax: class.to_owned(),
        transfer_syntaxes: syntaxes.iter().map(|s| (*s).to_owned()).collect(),
    };
    let presentation_contexts = match ask {
        Ask::Echo(proposal) => {
            let besides = proposal.contexts().into_iter().map(|(id, class, syntaxes)| context(id, class, &syntaxes));
            std::iter::once(context(CONTEXT, VERIFICATION, &USUAL)).chain(besides).collect()
        }
        // the default alone, so that every answer is in it
        Ask::Find(query, _) => vec![context(CONTEXT, query.scope.class(), &[IMPLICIT])],
    };
    Known::AssociationRQ(AssociationRQ {
        protocol_version: 1,
        calling_ae_title: titles.calling.clone(),
        called_ae_title: titles.called.clone(),
        application_context_name: APPLICATION_CONTEXT.to_owned(),
        presentation_contexts,
        user_variables: vec![
            UserVariableItem::MaxLength(MAX_LENGTH),
            UserVariableItem::ImplementationClassUID(IMPLEMENTATION.to_owned()),
            UserVariableItem::ImplementationVersionName(VERSION.to_owned()),
        ],
    })
}

/// A command or data set as P-DATA, in pieces of so many bytes.
pub(super) fn message(whole: &[u8], value_type: PDataValueType, piece: usize) -> Vec<u8> {
    let mut pieces = whole.chunks(piece).peekable();
    let mut all = Vec::new();
    while let Some(piece) = pieces.next() {
        let (is_last, data) = (pieces.peek().is_none(), piece.to_vec());
        let value = PDataValue { presentation_context_id: CONTEXT, value_type: value_type.clone(), is_last, data };
        all.extend(bytes(&Known::PData { data: vec![value] }).unwrap_or_default());
    }
    all
}

/// All that is sent has a fixed form but for the titles: none where one of them cannot be sent.
pub(super) fn bytes(pdu: &Known) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    write_pdu(&mut bytes, pdu).ok().map(|()| bytes)
}

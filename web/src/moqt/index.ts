/**
 * MoQ Transport (draft-18) for browsers: a library without a page.
 *
 * | module | what it is |
 * |---|---|
 * | vi64, key_value, name, parameters | the pieces that messages are made of |
 * | message | control messages: values, their bytes and back |
 * | object | objects on datagrams, subgroup streams and FETCH streams |
 * | aliases, request, byte_stream | what a session is made of |
 * | publication | a track of ours on its way out |
 * | session, connect | one session over WebTransport |
 */
export * from "./connect";
export * from "./error";
export * from "./message";
export * from "./name";
export * from "./object";
export * from "./parameters";
export * from "./publication";
export * from "./session";

export async function openAgreement() { return { close() {} }; }
